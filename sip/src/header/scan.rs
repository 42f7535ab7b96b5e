//! Cutting header values where quotes and angle brackets allow it.

/// Splits at `separator` outside quoted strings and angle brackets.
pub(crate) fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match find(text, separator) {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                Some(&text[..at])
            }
            None => rest.take(),
        }
    })
}

/// Where `wanted` first stands outside quoted strings and angle brackets.
pub(crate) fn find(text: &str, wanted: u8) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    let mut bracket = false;
    for (at, byte) in text.bytes().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        if byte == wanted && !bracket {
            return Some(at);
        }
        match byte {
            b'"' => quoted = true,
            b'<' => bracket = true,
            b'>' => bracket = false,
            _ => {}
        }
    }
    None
}

/// Where the first line ends.
pub(crate) fn line_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut ends = memchr::memchr_iter(b'\r', bytes);
    ends.find(|&at| bytes.get(at + 1) == Some(&b'\n'))
}

/// The content of a quoted string that begins `text`, and what follows it.
pub(crate) fn unquote(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut content = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((content, &inner[at + 1..])),
            '\\' => content.push(chars.next()?.1),
            _ => content.push(c),
        }
    }
    None
}

/// `content` as a quoted string; line ends and other control characters become spaces.
pub(crate) fn quote(content: &str) -> String {
    let mut quoted = String::with_capacity(content.len() + 2);
    quoted.push('"');
    for c in content.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// True of an RFC 3261 token.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}
