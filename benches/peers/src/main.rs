//! Others' caches beside ours, for `compare`: `peers end_to_end` or `peers ratio` prints rows. And others' clients, for
//! `transports`: `peers girolle URI` answers what it is asked.

mod end_to_end;
mod girolle;
mod ratio;

fn main() {
    let rows = match std::env::args().nth(1).as_deref() {
        Some("end_to_end") => end_to_end::rows(),
        Some("ratio") => ratio::rows(),
        Some("girolle") => {
            let uri = std::env::args().nth(2).expect("a URI");
            girolle::serve(&uri).expect("girolle works");
            return;
        }
        _ => {
            eprintln!("usage: peers end_to_end|ratio|girolle URI");
            std::process::exit(2);
        }
    };
    for row in rows {
        println!("{}", row.encode());
    }
}
