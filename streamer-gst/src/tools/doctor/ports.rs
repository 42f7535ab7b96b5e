//! Whether a port is free, and who has it.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// How an address is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Port {
    Free,
    /// Taken, by a program and its process number where they can be seen.
    Taken(Option<(String, u32)>),
    /// Not to be bound at all, with the reason.
    Refused(String),
}

/// What is spoken on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// Tries an address.
pub(super) fn look(protocol: Protocol, address: SocketAddr) -> Port {
    let bound = match protocol {
        Protocol::Tcp => TcpListener::bind(address).map(drop),
        Protocol::Udp => UdpSocket::bind(address).map(drop),
    };
    match bound {
        Ok(()) => Port::Free,
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Port::Taken(owner(protocol, address.port()))
        }
        Err(error) => Port::Refused(error.to_string()),
    }
}

/// Program and process that have a port.
fn owner(protocol: Protocol, port: u16) -> Option<(String, u32)> {
    let tables = match protocol {
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes(&table, protocol, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(number) = process.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        // Those of other users cannot be seen into.
        let files = fs::read_dir(process.path().join("fd"));
        let has = files.into_iter().flatten().flatten().any(|file| {
            let target = fs::read_link(file.path()).unwrap_or_default();
            target
                .to_str()
                .is_some_and(|target| inodes.iter().any(|inode| inode == target))
        });
        if has {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((name.trim().to_owned(), number));
        }
    }
    None
}

/// The inodes of the sockets that wait at a port, by the kernel's table (proc_net(5)).
fn inodes(table: &str, protocol: Protocol, port: u16) -> Vec<u64> {
    /// TCP_LISTEN.
    const LISTENING: &str = "0A";
    let lines = table.lines().skip(1);
    lines
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (_, found) = fields.get(1)?.rsplit_once(':')?;
            let here = u16::from_str_radix(found, 16).ok()? == port;
            let waits = protocol == Protocol::Udp || *fields.get(3)? == LISTENING;
            (here && waits).then(|| fields.get(9)?.parse().ok())?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when \
        retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 \
        4242 1 0000000000000000 100 0 0 10 0\n   \
        1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 \
        4243 1 0000000000000000 100 0 0 10 0\nbroken\n";

    #[test]
    fn the_kernels_table_names_who_listens() {
        assert_eq!(inodes(TABLE, Protocol::Tcp, 8080), [4242]);
        assert_eq!(inodes(TABLE, Protocol::Udp, 8080), [4242, 4243]);
        assert!(inodes(TABLE, Protocol::Tcp, 80).is_empty());
    }

    #[test]
    fn a_taken_port_has_an_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let Port::Taken(owner) = look(Protocol::Tcp, address) else {
            panic!("{address} is taken");
        };
        if let Some((_, number)) = owner {
            assert_eq!(number, std::process::id());
        }
    }
}
