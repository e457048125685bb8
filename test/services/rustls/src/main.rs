//! A server and a client over rustls, by the two interfaces that are in use. Both print a line of JSON for each request.
//!
//!     server PORT KEY.der CERTIFICATE.der
//!     client PORT CONNECTIONS REQUESTS TAG
//!
//! The client has all its connections in one thread and moves them about between their requests, so that their addresses
//! are now one connection's, now another's.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustls::{ClientConnection, ServerConnection, Stream, StreamOwned};

#[cfg_attr(feature = "old", path = "old.rs")]
#[cfg_attr(not(feature = "old"), path = "new.rs")]
mod config;

const MIB: usize = 1 << 20;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let port: u16 = args[2].parse().unwrap();
    if args[1] == "server" {
        serve(port, config::server(read(&args[3]), read(&args[4])));
    } else {
        ask(port, args[3].parse().unwrap(), args[4].parse().unwrap(), &args[5]);
    }
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn serve(port: u16, config: Arc<rustls::ServerConfig>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    for socket in listener.incoming() {
        let config = config.clone();
        std::thread::spawn(move || {
            let mut socket = socket.unwrap();
            let client = socket.peer_addr().unwrap().port();
            let mut connection = ServerConnection::new(config).unwrap();
            let mut stream = Stream::new(&mut connection, &mut socket);
            let mut buffer = Vec::new();
            while let Some(head) = head(&mut stream, &mut buffer) {
                let path = head.split(' ').nth(1).unwrap();
                // /bytes/NUMBER/NAME
                let bytes: usize = path.split('/').nth(2).unwrap().parse().unwrap();
                println!("{{\"path\":\"{path}\",\"client\":{client},\"bytes\":{bytes}}}");
                let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
                stream.write_all(response.as_bytes()).unwrap();
                stream.write_all(&vec![b'x'; bytes]).unwrap();
            }
        });
    }
}

/// The next request's or response's head; what came behind it stays in the buffer.
fn head(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = buffer.split_off(at + 4);
            return String::from_utf8(std::mem::replace(buffer, rest)).ok();
        }
        let mut piece = [0; 700];
        let bytes = stream.read(&mut piece).unwrap_or(0);
        if bytes == 0 {
            return None;
        }
        buffer.extend_from_slice(&piece[..bytes]);
    }
}

fn connect(port: u16, config: &Arc<rustls::ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut connection = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    StreamOwned::new(connection, socket)
}

fn ask(port: u16, connections: usize, requests: usize, tag: &str) {
    let config = config::client();
    let mut idle: Vec<_> = (0..connections).map(|_| connect(port, &config)).collect();
    for round in 0..requests {
        let mut busy = Vec::new();
        for index in 0..connections {
            let mut stream = idle.swap_remove((7 * index + round) % idle.len());
            let bytes = [0, 5, 2000, 20000, 200000][(index + round) % 5];
            let path = format!("/bytes/{bytes}/{tag}-{round}-{index}");
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            busy.insert(busy.len() / 2, (stream, path, bytes));
        }
        for (mut stream, path, bytes) in busy {
            let mut buffer = Vec::with_capacity(MIB);
            head(&mut stream, &mut buffer).unwrap();
            let mut body = vec![0; bytes - buffer.len()];
            stream.read_exact(&mut body).unwrap();
            let client = stream.sock.local_addr().unwrap().port();
            println!("{{\"path\":\"{path}\",\"client\":{client},\"bytes\":{bytes}}}");
            idle.push(stream);
        }
    }
}
