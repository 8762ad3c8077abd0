//! Others' caches beside ours, for `compare`: `peers end_to_end` or `peers ratio` prints rows.

mod end_to_end;
mod ratio;

fn main() {
    let rows = match std::env::args().nth(1).as_deref() {
        Some("end_to_end") => end_to_end::rows(),
        Some("ratio") => ratio::rows(),
        _ => {
            eprintln!("usage: peers end_to_end|ratio");
            std::process::exit(2);
        }
    };
    for row in rows {
        println!("{}", row.encode());
    }
}
