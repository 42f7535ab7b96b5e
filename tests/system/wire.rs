//! What goes over the wire, judged by a program that is not ours: tshark.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::hop::{Datagram, Hop};
use crate::harness::system::Setup;
use crate::harness::{eventually, seconds, whep};

/// A capture file (libpcap format, link type "raw IP") of these datagrams.
fn capture(datagrams: &[Datagram]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    for Datagram {
        source,
        destination,
        bytes,
    } in datagrams
    {
        let length = 28 + bytes.len();
        for word in [0, 0, length as u32, length as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend([0x45, 0]);
        file.extend((length as u16).to_be_bytes());
        // Not fragmented, 64 hops, UDP; without checksums, which tshark does not ask for.
        file.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        file.extend(octets(source));
        file.extend(octets(destination));
        for port in [
            source.port(),
            destination.port(),
            (8 + bytes.len()) as u16,
            0,
        ] {
            file.extend(port.to_be_bytes());
        }
        file.extend(bytes);
    }
    file
}

fn octets(addr: &SocketAddr) -> [u8; 4] {
    match addr.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => panic!("the tests' loopback is IPv4, not {ip}"),
    }
}

/// Reads a capture with tshark, everything on signaling's port as SIP; returns its lines.
fn tshark(capture: &Path, signaling: u16, arguments: &[&str]) -> Vec<String> {
    let run = Command::new("tshark")
        .args(["-n", "-d", &format!("udp.port=={signaling},sip"), "-r"])
        .arg(capture)
        .args(arguments)
        .output()
        .expect("tshark is installed: ./dev test");
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let text = String::from_utf8(run.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn tshark_sees_the_call_it_expects_and_nothing_wrong() {
    let system = Setup::new(&["test"]).hops(0).start();
    let answer = whep::call(system.http(), "test", &whep::recorded("firefox")).unwrap();
    assert_eq!(answer.status, 201);
    whep::hang_up(system.http(), &answer);
    eventually("the call is over", seconds(5), || {
        system.rest().has_no_call()
    });

    let directory = TempDir::new().unwrap();
    let signaling = system.signaling.addr("sip").port();
    for (side, hop) in [
        ("front", &system.front_hop),
        ("streamer", &system.streamer_hop),
    ] {
        let file = directory.path().join(side);
        fs::write(&file, capture(&hop.as_ref().map(Hop::recording).unwrap())).unwrap();

        // 0x600000 is a warning, 0x800000 an error.
        let wrong = "_ws.malformed || _ws.expert.severity >= 0x600000";
        let complaints = tshark(&file, signaling, &["-Y", wrong, "-V"]);
        assert!(complaints.is_empty(), "{side}: {}", complaints.join("\n"));

        let call = "sip.CSeq.method in {\"INVITE\", \"ACK\", \"BYE\"}";
        let fields = ["-T", "fields", "-E", "separator= "];
        let wanted = ["-e", "sip.CSeq.method", "-e", "sip.Status-Code"];
        let mut flow = tshark(
            &file,
            signaling,
            &[&["-Y", call], &fields[..], &wanted].concat(),
        );
        // A request that waited a little longer than usual was sent again: no matter here.
        flow.dedup();
        let flow: Vec<_> = flow.iter().map(|line| line.trim()).collect();
        let expected = [
            "INVITE",
            "INVITE 100",
            "INVITE 202",
            "ACK",
            "BYE",
            "BYE 200",
        ];
        assert_eq!(flow, expected, "{side}");
    }
}
