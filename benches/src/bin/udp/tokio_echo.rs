//! The UDP echo server that everybody writes on tokio. It has neither batches nor segments.

use std::net::UdpSocket;

use tokio::runtime::Builder;
use wakeful_benches::cli::Result;
use wakeful_benches::udp::SIZE_MAX;

/// Serves until it is killed.
pub(crate) fn serve(socket: UdpSocket) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        super::announce(&socket)?;
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        let mut buffer = [0; SIZE_MAX];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..len], from).await?;
        }
    })
}
