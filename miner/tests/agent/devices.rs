//! Devices that replay recorded answers over TCP, HTTP, UDP and Modbus: honest ones, slow ones, broken
//! ones and liars. Each serves on a port of its own until it is dropped.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How a device behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It answers.
    Honest,
    /// It answers, some bytes at a time.
    Dribbling,
    /// It takes the question and says nothing.
    Silent,
    /// It hangs up.
    HangingUp,
    /// It never ends.
    Endless,
    /// It answers noise.
    Noise,
    /// It breaks off in the middle.
    Torn,
    /// It refuses.
    Refusing,
}

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// The cgminer API.
    Cgminer,
    /// Whatsminer's third protocol.
    Framed,
    /// HTTP.
    Http,
}

/// A device on a port.
pub(crate) struct Device {
    pub(crate) address: SocketAddr,
    /// Questions that it was asked.
    pub(crate) asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What it answers, by command or path.
type Book = BTreeMap<String, Vec<u8>>;

/// A recorded answer.
pub(crate) fn recorded(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../energy/fixtures/asic").join(file);
    std::fs::read(&path).unwrap()
}

impl Device {
    /// One that has an answer for each of these.
    pub(crate) fn start(speech: Speech, manner: Manner, answers: &[(&str, Vec<u8>)]) -> Self {
        Self::start_at("127.0.0.1:0", speech, manner, answers)
    }

    /// One at a certain address of this machine.
    pub(crate) fn start_at(
        address: &str,
        speech: Speech,
        manner: Manner,
        answers: &[(&str, Vec<u8>)],
    ) -> Self {
        let book: Book =
            answers.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone())).collect();
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (book, ended, count) = (book.clone(), Arc::clone(&ended), Arc::clone(&count));
                thread::spawn(move || {
                    // A client that hangs up in the middle is its own business.
                    let _served = serve(stream?, speech, manner, &book, &ended, &count);
                    std::io::Result::Ok(())
                });
            }
        });
        Self { address, asked, stop, thread: Some(thread) }
    }

    /// One over UDP, that answers every datagram with what `answer` makes of it.
    pub(crate) fn datagrams(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let thread = thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                count.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = answer(&buffer[..length]) {
                    let _sent = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, asked, stop, thread: Some(thread) }
    }

    /// One over Modbus, that answers each frame with what `answer` makes of it.
    pub(crate) fn modbus(answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let mut frame = [0; 12];
                let Ok(mut stream) = stream else { continue };
                if stream.read_exact(&mut frame).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                    let _sent = stream.write_all(&answer(&frame));
                }
            }
        });
        Self { address, asked, stop, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it, whichever it listens with.
        let _woken = TcpStream::connect(self.address);
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            let _woken = socket.send_to(&[0], self.address);
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(
    mut stream: TcpStream,
    speech: Speech,
    manner: Manner,
    book: &Book,
    ended: &AtomicBool,
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let Some(name) = question(&mut stream, speech)? else { return Ok(()) };
    asked.fetch_add(1, Ordering::Relaxed);
    let answer = book.get(&name);
    match manner {
        Manner::Silent => {
            while !ended.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }
        Manner::HangingUp => Ok(()),
        Manner::Endless => loop {
            if ended.load(Ordering::Relaxed) {
                return Ok(());
            }
            stream.write_all(&[b'['; 65_536])?;
        },
        Manner::Noise => stream.write_all(&[0xff, 0x00, b'{', 0x80, b'"', 0xfe, 0x7f, 0x00]),
        Manner::Refusing => stream.write_all(&refusal(speech)),
        Manner::Torn => {
            let whole = framed(speech, answer);
            stream.write_all(&whole[..whole.len() * 2 / 3])
        }
        Manner::Honest => stream.write_all(&framed(speech, answer)),
        Manner::Dribbling => {
            let whole = framed(speech, answer);
            for part in whole.chunks(whole.len() / 8 + 1) {
                stream.write_all(part)?;
                thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        }
    }
}

/// The command or the path that is asked for.
fn question(stream: &mut TcpStream, speech: Speech) -> std::io::Result<Option<String>> {
    let mut buffer = [0; 4096];
    let mut text = Vec::new();
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(None);
        }
        text.extend_from_slice(&buffer[..read]);
        let name = match speech {
            Speech::Http => http_path(&text),
            Speech::Cgminer => command(&text, "command", ""),
            Speech::Framed => text.get(4..).and_then(|text| command(text, "cmd", "param")),
        };
        if name.is_some() {
            return Ok(name);
        }
    }
}

fn http_path(text: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(text);
    head.contains("\r\n\r\n").then(|| head.split(' ').nth(1).unwrap_or_default().to_owned())
}

fn command(text: &[u8], key: &str, parameter: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
    let command = value[key].as_str()?;
    Some(match value[parameter].as_str() {
        Some(parameter) => format!("{command} {parameter}"),
        None => command.to_owned(),
    })
}

/// An answer as it goes over the wire; an error in its protocol where the book has none.
fn framed(speech: Speech, answer: Option<&Vec<u8>>) -> Vec<u8> {
    let Some(answer) = answer else { return refusal(speech) };
    match speech {
        Speech::Cgminer => [answer.as_slice(), &[0]].concat(),
        Speech::Framed => {
            let length = u32::try_from(answer.len()).unwrap().to_le_bytes();
            [&length, answer.as_slice()].concat()
        }
        Speech::Http => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                answer.len()
            );
            [head.as_bytes(), answer].concat()
        }
    }
}

fn refusal(speech: Speech) -> Vec<u8> {
    let refused = br#"{"STATUS":[{"STATUS":"E","Code":45,"Msg":"Access denied"}],"id":1}"#;
    match speech {
        Speech::Http => b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec(),
        Speech::Cgminer => refused.to_vec(),
        Speech::Framed => {
            let refused = br#"{"code":-1,"msg":"invalid command"}"#;
            [&u32::try_from(refused.len()).unwrap().to_le_bytes(), refused.as_slice()].concat()
        }
    }
}
