//! Captures in the two formats that every tool reads: pcap and pcap-ng
//! (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng). Packets have no frame around them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};
use sip::Transport;
use sip::driver::{Datagram, Way};

use super::redact;

/// LINKTYPE_RAW: a packet begins with its IPv4 or IPv6 header.
const RAW: u32 = 101;
/// The longest packet in bytes: the usual word for "none is cut".
const SNAP_LENGTH: u32 = 262_144;
/// The most that a packet of a stream holds.
const SEGMENT: usize = 60_000;
/// What such a packet says that may still be sent.
const WINDOW: u16 = u16::MAX;
/// Streams whose place is known, at most. Others begin anew, as if they had just been opened.
const MAX_FLOWS: usize = 4096;
/// Hops left to our packets; those of others are not known to us, who see no headers.
const HOPS: u8 = 64;

/// How a capture is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Pcap,
    PcapNg,
}

impl Format {
    /// The format that a file's name asks for.
    pub(crate) fn of(path: &Path) -> Self {
        match path.extension() {
            Some(ending) if ending.eq_ignore_ascii_case("pcap") => Format::Pcap,
            _ => Format::PcapNg,
        }
    }

    /// What a capture begins with.
    pub(crate) fn begin(self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Format::Pcap => {
                // Microseconds, version 2.4, and two fields that nobody fills in.
                words(
                    &mut out,
                    &[0xa1b2_c3d4, 0x0004_0002, 0, 0, SNAP_LENGTH, RAW],
                );
            }
            Format::PcapNg => {
                // Section header: byte order, version 1.0, and a length that is not told.
                block(&mut out, 0x0a0d_0d0a, |out| {
                    words(out, &[0x1a2b_3c4d, 0x0000_0001, u32::MAX, u32::MAX]);
                });
                // The one interface; without options times are microseconds.
                block(&mut out, 1, |out| words(out, &[RAW, SNAP_LENGTH]));
            }
        }
        out
    }

    /// Adds a datagram, made a packet, or a message of a stream, made one or two. False when there
    /// is no packet that could hold it.
    pub(crate) fn append(self, out: &mut Vec<u8>, datagram: &Datagram, flows: &mut Flows) -> bool {
        let packets = packets(datagram, flows);
        for packet in packets.iter().flatten() {
            self.append_packet(out, datagram, packet);
        }
        packets.is_some()
    }

    fn append_packet(self, out: &mut Vec<u8>, datagram: &Datagram, packet: &[u8]) {
        // A packet has 65,575 bytes at most.
        let length = packet.len() as u32;
        let since = since_epoch(datagram.time);
        match self {
            Format::Pcap => {
                // 32 bits of seconds last until 2106.
                let seconds = since.as_secs() as u32;
                words(out, &[seconds, since.subsec_micros(), length, length]);
                out.extend(packet);
            }
            Format::PcapNg => {
                // 64 bits of microseconds outlast everything.
                let time = since.as_micros() as u64;
                let way = match datagram.way {
                    Way::In => 1,
                    Way::Out => 2,
                };
                block(out, 6, |out| {
                    words(out, &[0, (time >> 32) as u32, time as u32, length, length]);
                    out.extend(packet);
                    pad(out);
                    // The option epb_flags says which way it went; then the options end.
                    words(out, &[0x0004_0002, way, 0]);
                });
            }
        }
    }
}

/// How far each stream of a capture is in both directions, which is made up: as if it had begun with
/// its first message, and nothing had been lost.
#[derive(Debug, Default)]
pub(crate) struct Flows(HashMap<SocketAddr, [u32; 2]>);

impl Flows {
    /// The sequence number of so many bytes that go this way, and what they acknowledge.
    fn advance(&mut self, datagram: &Datagram, length: usize) -> (u32, u32) {
        if self.0.len() >= MAX_FLOWS && !self.0.contains_key(&datagram.peer) {
            self.0.clear();
        }
        let [came, went] = self.0.entry(datagram.peer).or_insert([1, 1]);
        let (this, other) = match datagram.way {
            Way::In => (came, went),
            Way::Out => (went, came),
        };
        let sequence = *this;
        *this = this.wrapping_add(length as u32);
        (sequence, *other)
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend(word.to_le_bytes());
    }
}

/// A block of pcap-ng: its length stands before and after its content.
fn block(out: &mut Vec<u8>, kind: u32, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    words(out, &[kind, 0]);
    content(out);
    let length = (out.len() - start + 4) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    words(out, &[length]);
}

/// Zeros up to the next 32 bits. Blocks are as long as whole words, so the length of all tells.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// What passed, with the headers that it had on the way, as far as they can be told; without
/// passwords.
fn packets(datagram: &Datagram, flows: &mut Flows) -> Option<Vec<Vec<u8>>> {
    let (source, destination) = match datagram.way {
        Way::In => (datagram.peer, datagram.local),
        Way::Out => (datagram.local, datagram.peer),
    };
    let payload = redact::masked(&datagram.payload);
    let (from, to) = (source.port(), destination.port());
    match datagram.transport {
        Transport::Udp => {
            let builder = network(source, destination).udp(from, to);
            let mut packet = Vec::with_capacity(builder.size(payload.len()));
            builder.write(&mut packet, &payload).ok()?;
            Some(vec![packet])
        }
        Transport::Tcp => {
            let segments = payload.chunks(SEGMENT).map(|segment| {
                let (sequence, acknowledged) = flows.advance(datagram, segment.len());
                let builder = network(source, destination)
                    .tcp(from, to, sequence, WINDOW)
                    .ack(acknowledged)
                    .psh();
                let mut packet = Vec::with_capacity(builder.size(segment.len()));
                builder.write(&mut packet, segment).ok()?;
                Some(packet)
            });
            segments.collect()
        }
    }
}

fn network(source: SocketAddr, destination: SocketAddr) -> PacketBuilderStep<IpHeaders> {
    match family(source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), HOPS)
        }
        (source, destination) => PacketBuilder::ipv6(octets(source), octets(destination), HOPS),
    }
}

/// The addresses of both ends. A socket for both families shows IPv4 addresses as mapped ones,
/// but they never stand in a packet so.
fn family(source: SocketAddr, destination: SocketAddr) -> (IpAddr, IpAddr) {
    let both = (source.ip().to_canonical(), destination.ip().to_canonical());
    if both.0.is_ipv4() == both.1.is_ipv4() {
        return both;
    }
    (source.ip(), destination.ip())
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;
    use crate::ladder::tests::Traffic;

    fn datagram(way: Way, peer: &str, local: &str, payload: Vec<u8>) -> Datagram {
        Datagram {
            peer: peer.parse().unwrap(),
            local: local.parse().unwrap(),
            ..Traffic::new().datagram(way, &payload.into())
        }
    }

    /// The words of a capture in order.
    fn read(capture: &[u8]) -> Vec<u32> {
        assert_eq!(capture.len() % 4, 0);
        let words = capture.chunks(4);
        words
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn packets_have_true_headers_and_checksums() {
        for (way, peer, local, from, to) in [
            (
                Way::In,
                "192.0.2.1:4000",
                "127.0.0.1:5060",
                "192.0.2.1",
                "127.0.0.1",
            ),
            (
                Way::Out,
                "[2001:db8::1]:4000",
                "[::1]:5060",
                "::1",
                "2001:db8::1",
            ),
            (
                Way::In,
                "[::ffff:192.0.2.1]:4000",
                "127.0.0.1:5060",
                "192.0.2.1",
                "127.0.0.1",
            ),
            (
                Way::In,
                "[::ffff:192.0.2.1]:4000",
                "[::1]:5060",
                "::ffff:192.0.2.1",
                "::1",
            ),
        ] {
            for size in [0, 1, 1400, 65_507] {
                let passed = datagram(way, peer, local, vec![b'x'; size]);
                let packet = packets(&passed, &mut Flows::default()).unwrap().remove(0);
                let seen = SlicedPacket::from_ip(&packet).unwrap();
                let Some(TransportSlice::Udp(udp)) = &seen.transport else {
                    panic!("no UDP");
                };
                assert_eq!(udp.payload(), passed.payload);
                let ports = match way {
                    Way::In => (4000, 5060),
                    Way::Out => (5060, 4000),
                };
                assert_eq!((udp.source_port(), udp.destination_port()), ports);
                let udp_header = udp.to_header();
                let (source, destination, checksum) = match &seen.net {
                    Some(NetSlice::Ipv4(ip)) => {
                        let header = ip.header().to_header();
                        assert_eq!(header.header_checksum, header.calc_header_checksum());
                        (
                            IpAddr::from(header.source),
                            IpAddr::from(header.destination),
                            udp_header.calc_checksum_ipv4(&header, udp.payload()),
                        )
                    }
                    Some(NetSlice::Ipv6(ip)) => {
                        let header = ip.header().to_header();
                        (
                            IpAddr::from(header.source),
                            IpAddr::from(header.destination),
                            udp_header.calc_checksum_ipv6(&header, udp.payload()),
                        )
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(udp.checksum(), checksum.unwrap());
                assert_eq!(
                    (source.to_string(), destination.to_string()),
                    (from.to_owned(), to.to_owned())
                );
            }
        }
    }

    #[test]
    fn messages_of_a_stream_follow_one_another() {
        let mut flows = Flows::default();
        let mut segments = |way, peer: &str, size| -> Vec<(u32, u32, usize)> {
            let mut passed = datagram(way, peer, "127.0.0.1:5060", vec![b'x'; size]);
            passed.transport = Transport::Tcp;
            let packets = packets(&passed, &mut flows).unwrap();
            let segment = |packet: &Vec<u8>| {
                let seen = SlicedPacket::from_ip(packet).unwrap();
                let Some(TransportSlice::Tcp(tcp)) = &seen.transport else {
                    panic!("no TCP");
                };
                let Some(NetSlice::Ipv4(ip)) = &seen.net else {
                    panic!("no IPv4");
                };
                let (header, ip) = (tcp.to_header(), ip.header().to_header());
                let checksum = header.calc_checksum_ipv4(&ip, tcp.payload()).unwrap();
                assert_eq!(tcp.checksum(), checksum);
                (
                    tcp.sequence_number(),
                    tcp.acknowledgment_number(),
                    tcp.payload().len(),
                )
            };
            packets.iter().map(segment).collect()
        };
        let (one, other) = ("192.0.2.1:4000", "192.0.2.1:4001");
        assert_eq!(segments(Way::In, one, 100), [(1, 1, 100)]);
        assert_eq!(segments(Way::Out, one, 30), [(1, 101, 30)]);
        assert_eq!(segments(Way::Out, other, 5), [(1, 1, 5)]);
        assert_eq!(
            segments(Way::In, one, 65_507),
            [(101, 31, 60_000), (60_101, 31, 5507)]
        );
        assert_eq!(segments(Way::Out, one, 1), [(31, 65_608, 1)]);
    }

    #[test]
    fn what_no_packet_can_hold_is_not_written() {
        let mut out = Vec::new();
        let passed = datagram(Way::In, "127.0.0.1:1", "127.0.0.1:2", vec![0; 65_508]);
        assert!(!Format::Pcap.append(&mut out, &passed, &mut Flows::default()));
        assert!(!Format::PcapNg.append(&mut out, &passed, &mut Flows::default()));
        assert!(out.is_empty());
    }

    #[test]
    fn pcap_is_a_header_and_records() {
        let mut out = Format::Pcap.begin();
        let passed = datagram(Way::In, "127.0.0.1:1", "127.0.0.1:2", b"four".to_vec());
        assert!(Format::Pcap.append(&mut out, &passed, &mut Flows::default()));
        let header = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 101];
        let record = [951_782_400, 124_456, 32, 32];
        assert_eq!(read(&out)[..10], [&header[..], &record].concat());
        assert_eq!(out.len(), 24 + 16 + 32);
    }

    #[test]
    fn pcap_ng_is_blocks_with_times_and_ways() {
        let mut out = Format::PcapNg.begin();
        for (way, text) in [(Way::In, "four"), (Way::Out, "fives")] {
            let passed = datagram(way, "127.0.0.1:1", "127.0.0.1:2", text.into());
            assert!(Format::PcapNg.append(&mut out, &passed, &mut Flows::default()));
        }
        let (mut at, mut kinds) = (0, Vec::new());
        let all = read(&out);
        while at < all.len() {
            let words = all[at + 1] as usize / 4;
            assert_eq!(all[at + 1], all[at + words - 1]);
            kinds.push(all[at]);
            if all[at] == 6 {
                let time = (u64::from(all[at + 3]) << 32) | u64::from(all[at + 4]);
                assert_eq!(time, 951_782_400_124_456);
                let length = if kinds.len() == 3 { 32 } else { 33 };
                assert_eq!(all[at + 5..at + 7], [length, length]);
                let way = kinds.len() as u32 - 2;
                assert_eq!(all[at + words - 4..at + words - 1], [0x0004_0002, way, 0]);
            }
            at += words;
        }
        assert_eq!(kinds, [0x0a0d_0d0a, 1, 6, 6]);
    }

    #[test]
    fn the_name_of_a_file_tells_its_format() {
        for (name, format) in [
            ("a.pcap", Format::Pcap),
            ("dir.x/a.PCAP", Format::Pcap),
            ("a.pcapng", Format::PcapNg),
            ("a", Format::PcapNg),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }
}
