//! Room for the transport-wide sequence number in the header of each packet, which rtpsession fills
//! in. A payloader can make it itself, but GStreamer copies the whole packet for that where a
//! payload descriptor lies beside the header; here it is the header alone that is made anew.

use gst::prelude::*;
use gstreamer as gst;

/// Length of a header without contributing sources (RFC 3550 section 5.1).
const HEADER: usize = 12;
/// In the first byte: there is an extension.
const HAS_EXTENSION: u8 = 0x10;
/// In the first byte: contributing sources.
const SOURCES: u8 = 0x0f;
/// A one-byte header, a word of content: two bytes of number and one of padding (RFC 8285 section
/// 4.2). The id is in the upper half of the first byte of content, the length less one in the lower.
const EXTENSION: [u8; 8] = [0xbe, 0xde, 0, 1, 1, 0, 0, 0];

/// Extends packets that leave a payloader, each if it is `wanted`, by an extension with that id, from
/// 1 to 14.
pub(super) fn extend(
    payloader: &gst::Element,
    id: u8,
    wanted: impl Fn() -> bool + Send + Sync + 'static,
) {
    // It would see the extension in the caps, and add it once more.
    payloader.set_property("auto-header-extension", false);
    let Some(pad) = payloader.static_pad("src") else {
        return;
    };
    let mut extension = EXTENSION;
    extension[4] |= id << 4;
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |_, info| {
        if let Some(list) = info.buffer_list_mut() {
            let list = list.make_mut();
            for index in 0..list.len() {
                if let Some(packet) = list.get_mut(index).filter(|_| wanted()) {
                    insert(packet, extension);
                }
            }
        } else if let Some(packet) = info.buffer_mut().filter(|_| wanted()) {
            insert(packet.make_mut(), extension);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Puts the extension behind the header.
pub(super) fn insert(packet: &mut gst::BufferRef, extension: [u8; EXTENSION.len()]) {
    if packet.n_memory() == 0 {
        return;
    }
    let extended = {
        let Ok(first) = packet.peek_memory(0).map_readable() else {
            return;
        };
        let Some((header, descriptor)) = first.split_at_checked(HEADER) else {
            return;
        };
        if header[0] & (HAS_EXTENSION | SOURCES) != 0 {
            return;
        }
        let mut extended = [header, &extension, descriptor].concat();
        extended[0] |= HAS_EXTENSION;
        extended
    };
    packet.replace_memory(0, gst::Memory::from_mut_slice(extended));
}

#[cfg(test)]
mod tests {
    use gst_rtp::RTPBuffer;
    use gstreamer_rtp as gst_rtp;

    use super::*;

    #[test]
    fn a_packet_gets_room_for_a_number_and_nothing_else_changes() {
        gst::init().unwrap();
        for descriptor in [&b""[..], b"\x90\x80\x01"] {
            let first = [&[0x80, 0xe0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2][..], descriptor].concat();
            let mut packet = gst::Buffer::from_slice(first);
            packet
                .make_mut()
                .append_memory(gst::Memory::from_slice(b"picture"));
            insert(packet.make_mut(), [0xbe, 0xde, 0, 1, 0x51, 0, 0, 0]);
            // Once is enough.
            insert(packet.make_mut(), [0xbe, 0xde, 0, 1, 0x51, 0, 0, 0]);
            assert_eq!(packet.n_memory(), 2);
            let read = RTPBuffer::from_buffer_readable(&packet).unwrap();
            assert_eq!(read.extension_onebyte_header(5, 0), Some(&[0, 0][..]));
            assert_eq!((read.seq(), read.timestamp(), read.ssrc()), (7, 1, 2));
            assert_eq!(read.payload().unwrap(), [descriptor, b"picture"].concat());
        }
    }

    #[test]
    fn what_is_no_packet_stays() {
        gst::init().unwrap();
        for bytes in [&b""[..], b"\x80", &[0x81; 16]] {
            let mut buffer = gst::Buffer::from_slice(bytes);
            insert(buffer.make_mut(), EXTENSION);
            assert_eq!(buffer.map_readable().unwrap().as_slice(), bytes);
        }
    }
}
