//! An HTTP/1.1 server: `hyper` over connections of mfio.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use mfio::io::StdStream;
use mfio_rt::net::TcpStream;

/// What `hyper` reads and writes: a connection as `tokio::io` has it.
pub type Io = TokioIo<StdStream<TcpStream>>;

/// `stream` as `hyper` takes it, for a server or a client.
#[must_use]
pub fn io(stream: TcpStream) -> Io {
    TokioIo::new(StdStream::from(stream))
}

/// Answers the requests of one connection until the peer ends it, or `stop` is ready: then the request that is
/// under way is answered, and the connection is closed.
///
/// # Errors
///
/// Those of `hyper`: the connection broke, or what came was not HTTP.
pub async fn serve(stream: TcpStream, stop: impl Future<Output = ()>) -> hyper::Result<()> {
    let connection = http1::Builder::new().serve_connection(io(stream), service_fn(answer));
    let mut connection = std::pin::pin!(connection);
    let mut stop = std::pin::pin!(stop);
    let mut stopping = false;
    std::future::poll_fn(|cx| {
        if !stopping && stop.as_mut().poll(cx).is_ready() {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await
}

/// `GET /` greets, `POST /echo` sends the body back. A body that breaks off is a bad request.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => (StatusCode::OK, Bytes::from_static(b"hello\n")),
        (&Method::POST, "/echo") => match request.into_body().collect().await {
            Ok(body) => (StatusCode::OK, body.to_bytes()),
            Err(_) => (StatusCode::BAD_REQUEST, Bytes::new()),
        },
        _ => (StatusCode::NOT_FOUND, Bytes::new()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    Ok(response)
}
