//! A server that does one thing wrong with the fourth message of each connection, so that the load tool has
//! something to find.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use dunlin::ws::deflate::{ClientOffer, HEADER, Inflater, Windows};
use dunlin::ws::{self, CloseCode, Event, Limits, Message, Role, WebSocket};

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    Loses,
    SaysTwice,
    Swaps,
    Shortens,
    Closes(u16),
    Masks,
    /// Says that the message is compressed, which was not agreed.
    Compresses,
    /// The same after it has agreed, with a message that is no deflate stream.
    Spoils,
    HangsUp,
    /// Already in the handshake.
    Refuses(u16),
    /// In the handshake: the proof that it has read the request is another one.
    Lies,
    /// Nothing.
    Nothing,
}

/// What is offered, and the answer to it.
const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// The message that goes wrong: neither the first nor the last.
const FOURTH: u64 = 3;

/// Starts one that lasts as long as the test's process; answers `ws://127.0.0.1:PORT/`.
pub(crate) fn serve(wrong: Wrong) -> String {
    serve_first(wrong, usize::MAX)
}

/// The same, but only its first connections go wrong.
pub(crate) fn serve_first(wrong: Wrong, connections: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (i, stream) in listener.incoming().enumerate() {
            let wrong = if i < connections {
                wrong
            } else {
                Wrong::Nothing
            };
            // What fails here fails because the other side has seen enough.
            thread::spawn(move || talk(stream.unwrap(), wrong));
        }
    });
    url
}

fn talk(mut stream: TcpStream, wrong: Wrong) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.split_once("Sec-WebSocket-Key: ").unwrap().1;
    let mut accept = ws::accept_key(key.split_once("\r\n").unwrap().0);
    match wrong {
        Wrong::Refuses(status) => {
            return write!(
                stream,
                "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        Wrong::Lies => accept[0] ^= 1,
        _ => {}
    }
    let accept = String::from_utf8_lossy(&accept);
    let extensions = match wrong {
        Wrong::Spoils => format!("{HEADER}: {OFFER}\r\n"),
        _ => String::new(),
    };
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
    )?;
    let mut socket = match wrong {
        Wrong::Spoils => {
            let agreed = ClientOffer {
                server_no_context_takeover: true,
                ..ClientOffer::default()
            };
            let agreed = agreed.check([OFFER.as_bytes()]).unwrap().unwrap();
            WebSocket::with_deflate(Role::Server, &agreed)
        }
        _ => WebSocket::new(Role::Server),
    };
    let (mut inflater, mut windows) = (Inflater::default(), Windows::default());
    let mut buffer = vec![0; 64 << 10];
    let mut number = 0;
    let mut held = Vec::new();
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut input = &mut buffer[..length];
        let mut out = Vec::new();
        while let Some(event) = socket
            .next_event_inflating(
                &Limits::default(),
                &mut input,
                &mut inflater,
                &mut windows,
                0,
            )
            .unwrap()
        {
            match event {
                Event::Message(message) => {
                    if number == FOURTH {
                        if wrong == Wrong::HangsUp {
                            return stream.write_all(&out);
                        }
                        answer_wrongly(&mut out, &mut held, message, wrong);
                    } else {
                        ws::encode_message(&mut out, message, None);
                        out.append(&mut held);
                    }
                    number += 1;
                }
                Event::Close(code, _) => {
                    ws::encode_close(&mut out, ws::echo_code(code), "", None);
                    return stream.write_all(&out);
                }
                _ => {}
            }
        }
        stream.write_all(&out)?;
    }
}

fn answer_wrongly(out: &mut Vec<u8>, held: &mut Vec<u8>, message: Message<'_>, wrong: Wrong) {
    match wrong {
        Wrong::Loses => {}
        Wrong::SaysTwice => {
            ws::encode_message(out, message, None);
            ws::encode_message(out, message, None);
        }
        Wrong::Swaps => ws::encode_message(held, message, None),
        Wrong::Shortens => {
            let Message::Text(text) = message else {
                panic!("{message:?}");
            };
            ws::encode_message(out, Message::Text(&text[..text.len() - 1]), None);
        }
        Wrong::Compresses | Wrong::Spoils => {
            let begin = out.len();
            ws::encode_message(out, Message::Binary(b"\xff no stream"), None);
            out[begin] |= 0x40;
        }
        Wrong::Closes(code) => ws::encode_close(out, CloseCode(code), "", None),
        Wrong::Masks => ws::encode_message(out, message, Some([1, 2, 3, 4])),
        _ => ws::encode_message(out, message, None),
    }
}
