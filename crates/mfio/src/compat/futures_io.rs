//! The traits of `futures::io`. See the [module above](super).

use core::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use std::io::{Result, SeekFrom};

use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};

use crate::{
    io::{ByteLen, NoPos, PacketIo, Seekable, StdStream, To, stream::ShutdownWrite},
    packet::perms::{Read, Write},
};

/// Reading and writing, the same for a cursor and for a stream.
macro_rules! futures_io {
    ($($type:ident at $pos:ty $(: $closes:path)?);*) => {$(
        impl<Io: PacketIo<Write, $pos> + Unpin> AsyncRead for $type<Io> {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<Result<usize>> {
                let want = buf.len();
                let read = self.get_mut().poll_read(cx, want, |bytes| {
                    buf.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                });
                Poll::Ready(Ok(ready!(read)?))
            }
        }

        impl<Io: PacketIo<Read, $pos> + Unpin $(+ $closes)?> AsyncWrite for $type<Io> {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<Result<usize>> {
                Poll::Ready(Ok(ready!(self.get_mut().poll_write(cx, buf))?))
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
                Poll::Ready(Ok(ready!(self.get_mut().poll_written(To::Write, cx))?))
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
                Poll::Ready(Ok(ready!(self.get_mut().poll_close(cx))?))
            }
        }
    )*};
}

futures_io!(Seekable at u64; StdStream at NoPos: ShutdownWrite);

impl<Io: ByteLen + Unpin> AsyncSeek for Seekable<Io> {
    fn poll_seek(self: Pin<&mut Self>, cx: &mut Context<'_>, to: SeekFrom) -> Poll<Result<u64>> {
        let this = self.get_mut();
        this.start_seek(to);
        Poll::Ready(Ok(ready!(this.poll_seek(cx))?))
    }
}
