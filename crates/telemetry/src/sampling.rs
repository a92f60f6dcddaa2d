//! Which traces go to the collector: every refusal and every failure, a share of the rest, and a few more
//! that callers ask for.
//!
//! The share is cut by a keyed hash of the trace's id: every replica with the same key keeps the same
//! traces, and no caller can find ids that are always kept. What callers ask for is counted, so that none
//! can make a replica send without end.

use std::fmt;
use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hmac::{Hmac, KeyInit, Mac};
use portcullis_domain::TraceId;
use portcullis_domain::observation::TracePlace;
use sha2::Sha256;

/// How much is kept.
#[derive(Clone, Copy)]
pub struct Sampling {
    /// The share of calls that got what they asked for; 0 to 1.
    pub ratio: f64,
    /// So many more a second, of those whose callers say that they keep their own span.
    pub asked_per_second: u32,
    /// The key of the cut: the same on every replica, and known to nobody else.
    pub key: [u8; 32],
}

impl fmt::Debug for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampling")
            .field("ratio", &self.ratio)
            .field("asked_per_second", &self.asked_per_second)
            .finish_non_exhaustive()
    }
}

/// Decides which traces are kept.
#[derive(Debug)]
pub(crate) struct Sampler {
    share: Share,
    asked: Option<DefaultDirectRateLimiter>,
}

/// The share of traces that are kept whoever asks.
enum Share {
    None,
    All,
    /// Those whose hash lies in the first part of all hashes.
    First(f64, Box<Hmac<Sha256>>),
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::All => "All",
            Self::First(..) => "First",
        })
    }
}

impl Sampler {
    pub(crate) fn new(sampling: &Sampling) -> Self {
        let share = if sampling.ratio >= 1.0 {
            Share::All
        } else if sampling.ratio > 0.0 {
            // A key of any length is one, so this never fails.
            Hmac::<Sha256>::new_from_slice(&sampling.key).map_or(Share::None, |keyed| {
                Share::First(sampling.ratio, Box::new(keyed))
            })
        } else {
            Share::None
        };
        let asked = NonZeroU32::new(sampling.asked_per_second);
        Self {
            share,
            asked: asked.map(|most| RateLimiter::direct(Quota::per_second(most))),
        }
    }

    /// Whether a call that ended so is kept.
    pub(crate) fn keeps(&self, place: TracePlace, good: bool) -> bool {
        !good || self.in_share(place.trace) || (place.sampled && self.one_more())
    }

    fn in_share(&self, trace: TraceId) -> bool {
        match &self.share {
            Share::None => false,
            Share::All => true,
            Share::First(part, keyed) => {
                let mut hash = keyed.as_ref().clone();
                hash.update(trace.as_bytes());
                let hash = hash.finalize().into_bytes();
                let first = hash.first_chunk().copied().map_or(0, u32::from_be_bytes);
                f64::from(first) / 4_294_967_296.0 < *part
            }
        }
    }

    fn one_more(&self) -> bool {
        self.asked
            .as_ref()
            .is_some_and(|asked| asked.check().is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::place;

    fn sampler(ratio: f64, asked_per_second: u32, key: u8) -> Sampler {
        Sampler::new(&Sampling {
            ratio,
            asked_per_second,
            key: [key; 32],
        })
    }

    #[test]
    fn refusals_and_failures_are_kept_at_a_ratio_of_nothing() {
        let sampler = sampler(0.0, 0, 1);
        for number in 1..1_000 {
            assert!(sampler.keeps(place(number), false));
            assert!(!sampler.keeps(place(number), true));
        }
    }

    #[test]
    fn a_share_is_kept_and_every_replica_keeps_the_same() {
        let (one, other, foreign) = (sampler(0.1, 0, 1), sampler(0.1, 0, 1), sampler(0.1, 0, 2));
        let kept = |sampler: &Sampler| {
            let kept = (1..10_001).filter(|number| sampler.keeps(place(*number), true));
            kept.collect::<Vec<_>>()
        };
        let share = kept(&one);
        assert!((800..1_200).contains(&share.len()), "{}", share.len());
        assert_eq!(share, kept(&other));
        assert_ne!(share, kept(&foreign), "the cut is keyed");
    }

    #[test]
    fn a_caller_gets_a_few_more_and_not_without_end() {
        let sampler = sampler(0.0, 5, 1);
        let asked = (1..10_000).filter(|number| {
            let mut place = place(*number);
            place.sampled = true;
            sampler.keeps(place, true)
        });
        let asked = asked.count();
        assert!((5..100).contains(&asked), "{asked}");
        assert!(!self::sampler(0.0, 0, 1).keeps(
            TracePlace {
                sampled: true,
                ..place(1)
            },
            true
        ));
    }

    #[test]
    fn all_are_kept_at_one_and_nothing_at_no_number() {
        assert!(sampler(1.0, 0, 1).keeps(place(7), true));
        assert!(!sampler(f64::NAN, 0, 1).keeps(place(7), true));
    }
}
