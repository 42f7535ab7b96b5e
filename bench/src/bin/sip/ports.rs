//! Ports of loopback: Kamailio and sipp cannot choose by themselves.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bench::Result;
use bench::process::Process;

/// From a program's start to its socket.
const START: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// One that is free now.
pub fn free() -> Result<u16> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(socket.local_addr()?.port())
}

/// Waits until a program has a socket there. Looked up, for trying it out would take its place.
pub fn wait_for(port: u16, process: &mut Process) -> Result<()> {
    let start = Instant::now();
    while !is_taken(&fs::read_to_string("/proc/net/udp")?, port) {
        if !process.lives() || start.elapsed() > START {
            return Err(format!("nobody listens at port {port}").into());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Whether a socket in the kernel's list has this port.
fn is_taken(list: &str, port: u16) -> bool {
    let local = format!(":{port:04X}");
    let mut addresses = list
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1));
    addresses.any(|address| address.ends_with(&local))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_socket_is_found_by_its_own_port_only() {
        let list = "   sl  local_address rem_address   st tx_queue rx_queue\n  \
            7: 0100007F:3AD4 0100007F:13C4 07 00000000:00000000\n";
        assert!(super::is_taken(list, 15060));
        assert!(!super::is_taken(list, 5060));
    }
}
