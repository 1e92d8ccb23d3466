//! Whether the servers do what they are measured at: every answer byte for byte.

use crate::Result;
use crate::driver::Driver;
use crate::server::{Role, Server};

/// Connections, payload, depth.
const SHAPES: [(usize, usize, usize); 4] =
    [(3, 125, 1), (3, 1024, 4), (2, 16 * 1024, 2), (1, 0, 3)];
const ROUNDS: usize = 5;

pub fn check(servers: &[Server]) -> Result<()> {
    let mut wrong = 0;
    for server in servers {
        for role in [Role::Echo, Role::Fan] {
            for (connections, payload, depth) in SHAPES {
                // hyperlane answers nothing to nothing, and raw tells frames by their length.
                if payload == 0 && ["hyperlane", "raw"].contains(&server.name) {
                    continue;
                }
                if let Err(why) = one(server, role, connections, payload, depth) {
                    println!("{}: {role:?} of {payload} bytes: {why}", server.name);
                    wrong += 1;
                }
            }
        }
        println!("{}: checked", server.name);
    }
    if wrong == 0 {
        Ok(())
    } else {
        Err(format!("{wrong} wrong").into())
    }
}

fn one(
    server: &Server,
    role: Role,
    connections: usize,
    payload: usize,
    depth: usize,
) -> Result<()> {
    let started = server.start(role, payload, depth, &[])?;
    let path = server.path(role);
    let mut driver = Driver::connect(started.port, path, connections, payload, depth)?;
    match role {
        Role::Echo => driver.echo(ROUNDS * connections * depth)?,
        _ => driver.fan(ROUNDS * depth)?,
    };
    driver.close()?;
    started.stop()
}
