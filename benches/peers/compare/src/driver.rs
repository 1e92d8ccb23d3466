//! A client that does the same every time: for counting instructions, and for checking what the peers answer.
//!
//! Its sockets block, and its rounds have two halves: every connection sends its window, then every connection reads
//! its answers. So how many connections are ready at once, and with it what one poll of the server is shared by,
//! does not depend on who is faster. A load generator that measures time must not wait like this; this one only
//! counts.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::Result;

const PATIENCE: Duration = Duration::from_secs(120);
/// The mask of every frame: to be undone, so not zero.
const MASK: [u8; 4] = [0x9d, 0x3a, 0x51, 0xc6];

/// Connections that have been upgraded.
pub struct Driver {
    sockets: Vec<TcpStream>,
    /// A client's frames of one window, and the answers to it.
    window: Vec<u8>,
    answers: Vec<u8>,
    depth: usize,
}

impl Driver {
    pub fn connect(
        port: u16,
        path: &str,
        connections: usize,
        payload: usize,
        depth: usize,
    ) -> Result<Self> {
        let mut sockets = Vec::with_capacity(connections);
        for _ in 0..connections {
            sockets.push(upgrade(port, path)?);
        }
        let body = body(payload);
        Ok(Self {
            sockets,
            window: frame(&body, Some(MASK)).repeat(depth),
            answers: frame(&body, None).repeat(depth),
            depth,
        })
    }

    /// So many messages, each back to who said it.
    pub fn echo(&mut self, messages: usize) -> Result<usize> {
        let rounds = messages.div_ceil(self.sockets.len() * self.depth);
        let mut got = vec![0; self.answers.len()];
        for _ in 0..rounds {
            for socket in &mut self.sockets {
                socket.write_all(&self.window)?;
            }
            for socket in &mut self.sockets {
                socket.read_exact(&mut got)?;
                check(&got, &self.answers)?;
            }
        }
        Ok(rounds * self.sockets.len() * self.depth)
    }

    /// So many publications of the first connection, each to all; the number of deliveries.
    pub fn fan(&mut self, publications: usize) -> Result<usize> {
        let mut got = vec![0; self.answers.len()];
        let rounds = publications.div_ceil(self.depth);
        for _ in 0..rounds {
            self.sockets[0].write_all(&self.window)?;
            for socket in &mut self.sockets {
                socket.read_exact(&mut got)?;
                check(&got, &self.answers)?;
            }
        }
        Ok(rounds * self.sockets.len() * self.depth)
    }

    /// Every connection says goodbye (RFC 6455 §7.1.2) and waits for the end.
    pub fn close(self) -> Result<()> {
        let close = frame(&1000u16.to_be_bytes(), Some(MASK));
        for mut socket in self.sockets {
            let mut close = close.clone();
            close[0] = 0x88;
            socket.write_all(&close)?;
            let mut rest = [0; 256];
            // A reset is an end, too.
            while socket.read(&mut rest).is_ok_and(|bytes| bytes > 0) {}
        }
        Ok(())
    }
}

fn check(got: &[u8], expected: &[u8]) -> Result<()> {
    if got != expected {
        return Err("the answer is not what was said".into());
    }
    Ok(())
}

fn upgrade(port: u16, path: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    socket.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        answer.extend_from_slice(&byte);
    }
    let answer = String::from_utf8_lossy(&answer);
    // The accept of RFC 6455's own example key (§1.3).
    if answer.starts_with("HTTP/1.1 101") && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
        Ok(socket)
    } else {
        Err(format!("refused: {answer}").into())
    }
}

/// JSON-like text of that length.
fn body(bytes: usize) -> Vec<u8> {
    let pattern = br#"{"id":1234,"name":"sandpiper","at":[52.1,4.3]} "#;
    pattern.iter().copied().cycle().take(bytes).collect()
}

/// A text frame (RFC 6455 §5.2).
fn frame(body: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x81];
    if body.len() < 126 {
        frame.push(masked | body.len() as u8);
    } else if body.len() <= 0xffff {
        frame.push(masked | 126);
        frame.extend_from_slice(&(body.len() as u16).to_be_bytes());
    } else {
        frame.push(masked | 127);
        frame.extend_from_slice(&(body.len() as u64).to_be_bytes());
    }
    let mask = mask
        .inspect(|mask| frame.extend_from_slice(mask))
        .unwrap_or_default();
    frame.extend(
        body.iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}
