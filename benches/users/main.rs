//! What the cache and the budget save, and what a herd costs: `cargo bench --bench users`, about two minutes.
#![allow(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench fails by panicking and tells its figures"
)]

mod herd;
mod parts;
mod zipf;

use tikv_jemallocator::Jemalloc;

// As the binary has it: what a user takes is told of it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        zipf::replay(1_000, None).await;
        zipf::replay(10_000, None).await;
        // Room for some 1,500 of them.
        zipf::replay(10_000, Some(1 << 20)).await;
        herd::stampede().await;
    });
}
