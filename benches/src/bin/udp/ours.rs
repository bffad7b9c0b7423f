//! The UDP echo server on wakeful: in batches, or in the pieces in which the system hands datagrams over.

use std::net::UdpSocket as StdSocket;

use wakeful::net::{RecvBatch, UdpSocket};
use wakeful_benches::cli::Result;
use wakeful_benches::udp::SIZE_MAX;

/// Serves until it is killed.
pub(crate) fn serve(socket: StdSocket, segments: bool) -> Result<()> {
    super::announce(&socket)?;
    let socket = UdpSocket::from_std(socket)?;
    wakeful::block_on(async {
        if segments {
            echo_segments(&socket).await
        } else {
            echo_batches(&socket).await
        }
    })
}

async fn echo_batches(socket: &UdpSocket) -> Result<()> {
    let mut batch = RecvBatch::new(super::BATCH, SIZE_MAX);
    loop {
        let mut left = socket.recv_many(&mut batch).await?;
        while left > 0 {
            let answers = batch
                .iter()
                .map(|datagram| (datagram.bytes(), datagram.from()));
            left -= socket.send_many(answers.skip(batch.len() - left)).await?;
        }
    }
}

async fn echo_segments(socket: &UdpSocket) -> Result<()> {
    socket.set_gro(true)?;
    let mut batch = RecvBatch::new(super::BATCH, usize::from(u16::MAX));
    loop {
        socket.recv_many(&mut batch).await?;
        for datagram in batch.iter() {
            let (mut bytes, to) = (datagram.bytes(), Some(datagram.from()));
            let segment_len = datagram.segment_len().unwrap_or(SIZE_MAX);
            while !bytes.is_empty() {
                let sent = socket.send_segmented(bytes, segment_len, to).await?;
                bytes = &bytes[sent.len..];
            }
        }
    }
}
