//! The calls that the cache and the rate limit save, and the cost of a herd: `cargo bench --bench
//! users`, about two minutes.
#![allow(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench fails by panicking and prints its figures"
)]

mod herd;
mod lookups;
mod parts;
mod zipf;

use tikv_jemallocator::Jemalloc;

// The allocator of the binary, which determines the memory of a user.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        zipf::replay(1_000, None).await;
        zipf::replay(10_000, None).await;
        // A cache for some 1,500 of them.
        zipf::replay(10_000, Some(1 << 20)).await;
        herd::stampede().await;
    });
}
