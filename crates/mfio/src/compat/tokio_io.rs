//! The traits of `tokio::io`. See the [module above](super).

use core::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use std::io::{Result, SeekFrom};

use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use crate::{
    io::{ByteLen, NoPos, PacketIo, Seekable, StdStream, To, stream::ShutdownWrite},
    packet::perms::{Read, Write},
};

/// Reading and writing, the same for a cursor and for a stream.
macro_rules! tokio_io {
    ($($type:ident at $pos:ty $(: $closes:path)?);*) => {$(
        impl<Io: PacketIo<Write, $pos> + Unpin> AsyncRead for $type<Io> {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<Result<()>> {
                let want = buf.remaining();
                let read = self.get_mut().poll_read(cx, want, |bytes| buf.put_slice(bytes));
                ready!(read)?;
                Poll::Ready(Ok(()))
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

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
                Poll::Ready(Ok(ready!(self.get_mut().poll_close(cx))?))
            }
        }
    )*};
}

tokio_io!(Seekable at u64; StdStream at NoPos: ShutdownWrite);

impl<Io: ByteLen + Unpin> AsyncSeek for Seekable<Io> {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> Result<()> {
        let this = self.get_mut();
        // Unlike the other family's, this begins anew each time it is called.
        this.polled.forget_seek();
        Self::start_seek(this, to);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        Poll::Ready(Ok(ready!(Self::poll_seek(self.get_mut(), cx))?))
    }
}
