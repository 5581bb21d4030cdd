//! The target `sealed`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target that panics reports a bug"
)]

use std::sync::LazyLock;

use super::{Binding, KeyAge, Sealer};
use crate::{
    oracle::Input,
    pool::PoolId,
    shared_cache::{ValueKind, fixtures::sealer},
    user::Sub,
};

/// A text opens only if it is, byte for byte, one that was sealed for the same purpose, and as what was
/// sealed.
///
/// The first two bytes of the input choose the purposes, the third how many changes of one byte follow,
/// each a position and what is flipped. Then follows what is appended.
pub(crate) fn sealed(input: &[u8]) {
    let mut random = Input::new(input);
    let (from, to) = (usize::from(random.byte()) % COUNT, usize::from(random.byte()) % COUNT);
    let original = &LAB.sealed[from];
    let mut text = original.clone();
    for _ in 0..random.byte() % 8 {
        let at = usize::from(random.u16()) % text.len();
        text[at] ^= random.byte();
    }
    text.extend_from_slice(random.rest());
    let opened = LAB.sealer.open(LAB.binding(to), &text);
    let is_ours = text == *original && from == to;
    assert_eq!(opened.is_ok(), is_ours, "{from} as {to}: {opened:?}");
    if let Ok(opened) = opened {
        assert!(opened.plain == PLAIN && opened.key == KeyAge::Current);
    }
    assert!(LAB.sealer.open(LAB.binding(to), input).is_err(), "what nobody sealed opens");
}

/// Texts that are sealed for every purpose.
struct Lab {
    sealer: Sealer,
    pool: PoolId,
    subs: [Sub; 2],
    sealed: Vec<Vec<u8>>,
}

impl Lab {
    fn new() -> Self {
        let (pool, subs) = ("eu-west-1_A".parse().unwrap(), ["ada", "adb"].map(|sub| sub.parse().unwrap()));
        let mut lab = Self { sealer: sealer("cl", &["value"]), pool, subs, sealed: Vec::new() };
        lab.sealed = (0..COUNT).map(|at| lab.sealer.seal(lab.binding(at), PLAIN).unwrap()).collect();
        lab
    }

    fn binding(&self, at: usize) -> Binding<'_> {
        let value = |sub, kind| Binding::Value { pool: &self.pool, sub: &self.subs[sub], kind };
        match at {
            0 => value(0, ValueKind::Profile),
            1 => value(0, ValueKind::Groups),
            2 => value(1, ValueKind::Profile),
            3 => Binding::Event,
            4 => Binding::Revocation,
            5 => Binding::Task,
            6 => Binding::ResumeToken { holder: &[1; 32] },
            _ => Binding::ResumeToken { holder: &[2; 32] },
        }
    }
}

static LAB: LazyLock<Lab> = LazyLock::new(Lab::new);
const PLAIN: &[u8] = b"name=Ada";
const COUNT: usize = 8;
