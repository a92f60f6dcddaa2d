//! Packed answers: unpacked as asked, and cut off where they become too large.

use std::io::Cursor;

use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use tokio::io::{AsyncReadExt, BufReader};

use super::fetches::{fetched, head};
use crate::error::EgressError;

const KINDS: [&str; 3] = ["gzip", "br", "zstd"];
/// What a test fetches at most.
const MOST: usize = 64 * 1024;

async fn packed(kind: &str, content: Vec<u8>) -> Vec<u8> {
    let content = BufReader::new(Cursor::new(content));
    let mut packed = Vec::new();
    match kind {
        "gzip" => GzipEncoder::new(content).read_to_end(&mut packed).await,
        "br" => BrotliEncoder::new(content).read_to_end(&mut packed).await,
        "zstd" => ZstdEncoder::new(content).read_to_end(&mut packed).await,
        other => panic!("{other}"),
    }
    .unwrap();
    packed
}

fn answer(kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let extra = format!("content-encoding: {kind}\r\ncontent-length: {length}");
    [head(200, &extra), body.to_vec()].concat()
}

/// Text that does not shrink by much.
fn prose(length: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + u8::try_from(state >> 24).unwrap() % 26
    };
    (0..length).map(|_| letter()).collect()
}

#[tokio::test]
async fn a_packed_answer_is_unpacked_up_to_the_limit_and_not_beyond() {
    for kind in KINDS {
        let most = prose(MOST);
        let whole = fetched(&[answer(kind, &packed(kind, most.clone()).await)]).await;
        assert_eq!(whole.unwrap().body, most, "{kind}");
        let more = prose(MOST + 1);
        let ended = fetched(&[answer(kind, &packed(kind, more).await)]).await;
        let error = ended.unwrap_err().error;
        assert!(
            matches!(error, EgressError::TooLarge { limit: MOST }),
            "{kind}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_bomb_is_cut_off_by_its_ratio() {
    for kind in KINDS {
        let bomb = answer(kind, &packed(kind, vec![0; 60 * 1024]).await);
        let error = fetched(&[bomb]).await.unwrap_err().error;
        assert!(
            matches!(error, EgressError::Bomb { .. }),
            "{kind}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_page_of_blanks_is_no_bomb() {
    for kind in KINDS {
        let blanks = vec![b' '; 16 * 1024];
        let whole = fetched(&[answer(kind, &packed(kind, blanks.clone()).await)]).await;
        assert_eq!(whole.unwrap().body, blanks, "{kind}");
    }
}

#[tokio::test]
async fn what_was_packed_twice_or_otherwise_is_refused() {
    for coding in [
        "gzip, gzip",
        "gzip\r\ncontent-encoding: gzip",
        "deflate",
        "compress",
        "dcb",
        "x",
        "",
        "identity, br",
    ] {
        let error = fetched(&[answer(coding, b"x")]).await.unwrap_err().error;
        assert!(matches!(error, EgressError::Encoded), "{coding}: {error:?}");
    }
}

#[tokio::test]
async fn what_does_not_unpack_is_no_answer() {
    for kind in KINDS {
        let whole = packed(kind, prose(1_000)).await;
        for broken in [&whole[..whole.len() / 2], b"no such coding", b"\0\0\0\0"] {
            let ended = fetched(&[answer(kind, broken)]).await;
            let error = ended.unwrap_err().error;
            assert!(matches!(error, EgressError::Body(_)), "{kind}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_zstd_window_beyond_8_mib_is_refused() {
    // A frame header that asks for a window of 128 MiB, and a block that never fills it.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x0b, 0x00, 0x00, b'x'];
    let error = fetched(&[answer("zstd", &frame)]).await.unwrap_err().error;
    assert!(matches!(error, EgressError::Body(_)), "{error:?}");
}

#[tokio::test]
async fn a_brotli_window_beyond_16_mib_is_refused_before_it_is_filled() {
    // 64 MiB of zeros with a window of 1 GiB, in 54 bytes: the decoder would hand nothing out before it
    // had them all. In the large-window form of the format, which is no part of RFC 7932.
    let body = [
        0x11, 0x1e, 0xff, 0xff, 0xff, 0x01, 0x90, 0x00, 0x88, 0xc7, 0x02, 0x21, 0xf7, 0xfe, 0x9f,
        0xff, 0xff, 0xff, 0x00, 0x48, 0x00, 0xc4, 0x61, 0x01, 0xa0, 0x7b, 0xff, 0xcf, 0xff, 0xff,
        0x7f, 0x00, 0x24, 0x00, 0xe2, 0xb0, 0x00, 0xd0, 0xbd, 0xff, 0xcf, 0xff, 0xff, 0x7f, 0x00,
        0x12, 0x00, 0x71, 0x58, 0x00, 0xe8, 0xde, 0xff, 0x03,
    ];
    let error = fetched(&[answer("br", &body)]).await.unwrap_err().error;
    assert!(matches!(error, EgressError::Body(_)), "{error:?}");
}

#[tokio::test]
async fn empty_blocks_without_an_end_are_cut_off() {
    // Stored deflate blocks of no length: nothing ever comes of them.
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for _ in 0..40_000 {
        body.extend([0, 0, 0, 0xff, 0xff]);
    }
    let error = fetched(&[answer("gzip", &body)]).await.unwrap_err().error;
    assert!(matches!(error, EgressError::TooLarge { .. }), "{error:?}");
}
