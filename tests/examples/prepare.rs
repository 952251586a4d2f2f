//! Builds the programs that the end-to-end tests run, so that no compiler slows the tests down.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    mcsa_tests::prepare().await
}
