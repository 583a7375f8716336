//! `hyper`, client and server, over connections of mfio.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, client::conn::http1, client::conn::http1::SendRequest};
use mfio_examples::http;
use mfio_rt::{
    TcpListenerHandle, global,
    net::{TcpListener, TcpStream},
};
use tokio::sync::oneshot;

async fn ask(
    client: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> (StatusCode, Bytes) {
    client.ready().await.unwrap();
    let response = client.send_request(request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

fn request(method: &str, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "test")
        .body(Full::new(body))
        .unwrap()
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_is_shut_down_gracefully() {
    let all = global::within_tokio(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = async {
            // One accept: all requests come over the same connection.
            let (stream, _) = listener.accept().await.unwrap();
            http::serve(stream, async { stopped.await.unwrap() }).await.unwrap();
        };
        let client = async {
            let stream = TcpStream::connect(addr).await.unwrap();
            let (mut client, connection) = http1::handshake(http::io(stream)).await.unwrap();
            let talk = async {
                for _ in 0..5 {
                    let got = ask(&mut client, request("GET", "/", Bytes::new())).await;
                    assert_eq!(got, (StatusCode::OK, Bytes::from_static(b"hello\n")));
                }
                assert_eq!(
                    ask(&mut client, request("GET", "/no", Bytes::new())).await.0,
                    StatusCode::NOT_FOUND
                );
                let large: Bytes = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
                let (status, echo) =
                    ask(&mut client, request("POST", "/echo", large.clone())).await;
                assert_eq!(status, StatusCode::OK);
                assert!(echo == large, "{} bytes came back, not the same", echo.len());
                // Nothing is under way, so the server closes, and the client hears that.
                stop.send(()).unwrap();
                while client.ready().await.is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            let ((), connection) = tokio::join!(talk, connection);
            connection.unwrap();
        };
        tokio::join!(server, client)
    });
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
}
