//! Byte classes: one cheap pass over a text that says which detectors can find anything in it.
//!
//! Must never say "nothing here" of a text in which a detector would find something.

/// An ASCII digit.
pub(crate) const DIGIT: u8 = 1;
/// `@`.
pub(crate) const AT: u8 = 2;
/// A byte that begins an escape (`%`, `&`, `\`) or a control character that hides between digits.
pub(crate) const ESCAPE: u8 = 4;
/// A byte of a character outside ASCII.
pub(crate) const HIGH: u8 = 8;
/// A byte of both base64 alphabets.
pub(crate) const TOKEN: u8 = 16;
/// A byte of identifiers in lower-case hexadecimal.
pub(crate) const ID: u8 = 32;
/// `.`.
pub(crate) const DOT: u8 = 64;
/// `:`.
pub(crate) const COLON: u8 = 128;

static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut rest: &mut [u8] = &mut table;
    let mut byte = 0;
    while let [first, tail @ ..] = rest {
        *first = classify(byte);
        rest = tail;
        byte = byte.wrapping_add(1);
    }
    table
};

/// The classes of one byte.
pub(crate) fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

const fn classify(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => DIGIT | TOKEN | ID,
        b'a'..=b'f' | b'-' => TOKEN | ID,
        b'A'..=b'Z' | b'g'..=b'z' | b'+' | b'/' | b'_' => TOKEN,
        b'@' => AT,
        b'.' => DOT,
        b':' => COLON,
        b'%' | b'&' | b'\\' | 0..=8 | 11 | 12 | 14..=31 | 127 => ESCAPE,
        128..=255 => HIGH,
        _ => 0,
    }
}

/// What one pass over a text showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    flags: u8,
    /// How many digits there are.
    pub(crate) digits: usize,
    /// The longest run of base64 characters.
    pub(crate) longest_run: usize,
}

impl Traits {
    /// Looks at each byte once.
    pub(crate) fn of(text: &str) -> Self {
        let (mut flags, mut digits, mut run, mut longest_run) = (0_u8, 0_usize, 0_usize, 0_usize);
        for &byte in text.as_bytes() {
            let class = class(byte);
            flags |= class;
            digits += usize::from(class & DIGIT);
            run = if class & TOKEN == 0 { 0 } else { run + 1 };
            longest_run = longest_run.max(run);
        }
        Self {
            flags,
            digits,
            longest_run,
        }
    }

    /// Whether an `@` is there.
    pub(crate) const fn has_at(self) -> bool {
        self.flags & AT != 0
    }

    /// Whether there may be an IP address of version 4.
    pub(crate) const fn may_be_v4(self) -> bool {
        self.digits >= 4 && self.flags & DOT != 0
    }

    /// Whether there may be an IP address of version 6.
    pub(crate) const fn may_be_v6(self) -> bool {
        self.digits > 0 && self.flags & COLON != 0
    }

    /// Whether a decoded view of the text may differ from the text.
    pub(crate) const fn may_decode(self) -> bool {
        self.flags & (ESCAPE | HIGH) != 0
    }
}

/// The byte at `index`, or 0 outside the text.
pub(crate) fn at(bytes: &[u8], index: usize) -> u8 {
    bytes.get(index).copied().unwrap_or(0)
}

/// The byte before `index`, or 0 at the beginning.
pub(crate) fn before(bytes: &[u8], index: usize) -> u8 {
    index
        .checked_sub(1)
        .map_or(0, |previous| at(bytes, previous))
}

/// Whether `index` lies in the middle of a word: the byte before is a letter or digit.
pub(crate) fn follows_alphanumeric(bytes: &[u8], index: usize) -> bool {
    before(bytes, index).is_ascii_alphanumeric()
}
