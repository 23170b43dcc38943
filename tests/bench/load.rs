//! Fills an etcd for the bench: `bench-load http://127.0.0.1:2379 KEYS VALUE_BYTES`.
//!
//! Keys look like Kubernetes objects, values like JSON with half of it incompressible. Every tenth key
//! is written twice, so that there is history to walk.

use etcd_client::{Client, PutOptions, Txn, TxnOp};

const IN_A_TXN: u64 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, keys, bytes] = args.as_slice() else {
        return Err("usage: bench-load URL KEYS VALUE_BYTES".into());
    };
    let (keys, bytes): (u64, usize) = (keys.parse()?, bytes.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(load(url, keys, bytes))
}

async fn load(url: &str, keys: u64, bytes: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::connect([url], None).await?;
    let in_a_txn = (1_000_000 / (bytes as u64 + 200)).clamp(1, IN_A_TXN);
    let mut numbers: Vec<u64> = Vec::new();
    for number in (0..keys).chain((0..keys).step_by(10)) {
        numbers.push(number);
        if numbers.len() as u64 == in_a_txn {
            put(&mut client, std::mem::take(&mut numbers), bytes).await?;
        }
    }
    put(&mut client, numbers, bytes).await
}

async fn put(
    client: &mut Client,
    mut numbers: Vec<u64>,
    bytes: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    numbers.dedup();
    let options = Some(PutOptions::new());
    let puts: Vec<TxnOp> = numbers
        .iter()
        .map(|n| TxnOp::put(key(*n), value(*n, bytes), options.clone()))
        .collect();
    if !puts.is_empty() {
        client.txn(Txn::new().and_then(puts)).await?;
    }
    Ok(())
}

fn key(number: u64) -> String {
    format!(
        "/registry/configmaps/namespace-{:03}/object-{number:08}",
        number % 100
    )
}

fn value(number: u64, bytes: usize) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(bytes + 64);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!(
            "{{\"kind\":\"ConfigMap\",\"uid\":\"{state:016x}\"}},"
        ));
    }
    text.truncate(bytes);
    text
}
