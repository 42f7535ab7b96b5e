//! One WebRTC receiver on a socket of its own. It offers NACK and retransmission.

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::config::DtlsCert;
use str0m::format::{Codec, CodecConfig, CodecSpec, FormatParams, PayloadParams};
use str0m::media::{Direction, Frequency, MediaKind, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::Extension;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::join::{Answer, Door};
use super::mailbox::Mailbox;
use super::record::{Arrival, Record};
use crate::Result;
use crate::rtp::{self, Media};

/// What the largest datagram of a server fits in.
const DATAGRAM: usize = 2048;
/// For bursts of keyframes; the kernel may give less.
const BUFFER: usize = 1 << 20;

/// A viewer.
#[derive(Debug)]
pub struct Viewer {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    door: Door,
    pending: Option<SdpPendingOffer>,
    /// When str0m wants to be called again.
    pub deadline: Instant,
    /// What it received.
    pub record: Record,
}

impl Viewer {
    /// Makes one and asks for the server's SDP. A certificate of its own takes a while to make
    /// and would be the client's time, not the server's. With `transport_cc` it offers feedback on
    /// each packet, too, so that the server can measure the line.
    pub fn join(
        number: usize,
        address: IpAddr,
        door: Door,
        certificate: DtlsCert,
        transport_cc: bool,
        mailbox: &Mailbox,
    ) -> Result<Self> {
        let socket = UdpSocket::bind((address, 0))?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
        let local = socket.local_addr()?;
        let now = Instant::now();
        let mut rtc = config(certificate, transport_cc).build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp")?);
        let (mut offer, mut pending) = (String::new(), None);
        if !door.offers() {
            let mut change = rtc.sdp_api();
            for kind in [MediaKind::Video, MediaKind::Audio] {
                change.add_media(kind, Direction::RecvOnly, None, None, None);
            }
            let (sdp, state) = change.apply().ok_or("no offer was made")?;
            (offer, pending) = (sdp.to_sdp_string(), Some(state));
        }
        door.ask(offer, number, mailbox);
        Ok(Self {
            rtc,
            socket,
            local,
            door,
            pending,
            deadline: now,
            record: Record::default(),
        })
    }

    /// Takes the server's SDP.
    pub fn answered(&mut self, answer: &Answer) -> Result<()> {
        (self.record.asked, self.record.answered) = (answer.asked, answer.answered);
        match self.pending.take() {
            Some(pending) => {
                let sdp = SdpAnswer::from_sdp_string(&answer.sdp)?;
                self.rtc.sdp_api().accept_answer(pending, sdp)?;
            }
            None => {
                let offer = SdpOffer::from_sdp_string(&answer.sdp)?;
                let answer = self.rtc.sdp_api().accept_offer(offer)?;
                self.door.start(answer.to_sdp_string());
            }
        }
        self.drain(0, 0)
    }

    /// Takes all datagrams that are there.
    pub fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; DATAGRAM];
        let mut control = nix::cmsg_space!(TimeSpec);
        loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let received = recvmsg::<SockaddrIn>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT,
            );
            let message = match received {
                Ok(message) => message,
                Err(Errno::EAGAIN) => return Ok(()),
                // The server's port closed.
                Err(Errno::ECONNREFUSED) => continue,
                Err(error) => return Err(error.into()),
            };
            let at = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::ScmTimestampns(at) => Some(nanoseconds(at)),
                _ => None,
            });
            let from = message.address.ok_or("a datagram without a sender")?;
            let (from, length) = (SocketAddrV4::new(from.ip(), from.port()), message.bytes);
            let Ok(datagram) =
                Receive::new(Protocol::Udp, from.into(), self.local, &buffer[..length])
            else {
                continue;
            };
            self.rtc
                .handle_input(Input::Receive(Instant::now(), datagram))?;
            let cipher =
                rtp::header_length(&buffer[..length]).map(|header| length - header.min(length));
            self.drain(
                at.unwrap_or_else(crate::wall_clock),
                cipher.unwrap_or_default(),
            )?;
        }
    }

    /// Does what is due.
    pub fn tick(&mut self) -> Result<()> {
        self.rtc.handle_input(Input::Timeout(Instant::now()))?;
        self.drain(0, 0)
    }

    /// Takes out what the last input led to: a datagram that came `at`, with so many bytes after
    /// its header.
    fn drain(&mut self, at: u64, encrypted: usize) -> Result<()> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    return Ok(());
                }
                Output::Transmit(datagram) => {
                    // Lost where the network would lose it.
                    let _ = self
                        .socket
                        .send_to(&datagram.contents, datagram.destination);
                }
                Output::Event(Event::RtpPacket(packet)) => {
                    let Some(media) = Media::of(*packet.header.payload_type) else {
                        continue;
                    };
                    if media == Media::Audio {
                        self.record.srtp_overhead = encrypted.saturating_sub(packet.payload.len());
                    }
                    self.record.note(&Arrival {
                        media,
                        number: packet.header.sequence_number,
                        time: packet.header.timestamp,
                        marked: packet.header.marker,
                        payload: &packet.payload,
                        at,
                    });
                }
                Output::Event(_) => {}
            }
        }
    }
}

impl AsFd for Viewer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// VP8 and Opus, with the features that both servers have, or one more.
fn config(certificate: DtlsCert, transport_cc: bool) -> RtcConfig {
    let params = |media: Media, codec, resend: Option<u8>, channels, format| {
        let spec = CodecSpec {
            codec,
            clock_rate: Frequency::new(media.clock_rate()).expect("a rate is not zero"),
            channels,
            format,
        };
        let mut params =
            PayloadParams::new(media.payload_type().into(), resend.map(Pt::from), spec);
        params.set_fb_transport_cc(transport_cc && media == Media::Video);
        params.set_fb_remb(false);
        params
    };
    let opus = FormatParams {
        min_p_time: Some(10),
        use_inband_fec: Some(true),
        ..FormatParams::default()
    };
    let mut config = RtcConfig::new()
        .set_rtp_mode(true)
        .set_dtls_cert(certificate)
        .clear_extension_map()
        .set_extension(4, Extension::RtpMid);
    if transport_cc {
        config = config.set_extension(3, Extension::TransportSequenceNumber);
    }
    *config.codec_config() = CodecConfig::new_from_payload_params(vec![
        params(
            Media::Video,
            Codec::Vp8,
            Some(97),
            None,
            FormatParams::default(),
        ),
        params(Media::Audio, Codec::Opus, None, Some(2), opus),
    ]);
    config
}

fn nanoseconds(time: TimeSpec) -> u64 {
    let (seconds, rest) = (time.tv_sec(), time.tv_nsec());
    u64::try_from(seconds * 1_000_000_000 + rest).unwrap_or_default()
}
