//! Options that sockets of all families have.

/// Gives `$Socket` the sizes of its buffers.
macro_rules! buffer_options {
    ($Socket:ty) => {
        /// Sizes of buffers.
        impl $Socket {
            /// Bytes of the send buffer, as the system counts them: twice what was set (`SO_SNDBUF`).
            pub fn send_buffer_size(&self) -> io::Result<usize> {
                self.socket().send_buffer_size()
            }

            /// Sets [`send_buffer_size`](Self::send_buffer_size).
            pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
                self.socket().set_send_buffer_size(bytes)
            }

            /// Bytes of the receive buffer, as the system counts them: twice what was set (`SO_RCVBUF`).
            pub fn recv_buffer_size(&self) -> io::Result<usize> {
                self.socket().recv_buffer_size()
            }

            /// Sets [`recv_buffer_size`](Self::recv_buffer_size).
            pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
                self.socket().set_recv_buffer_size(bytes)
            }
        }
    };
}
pub(super) use buffer_options;
