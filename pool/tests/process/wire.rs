//! A wire between the pool and its node that can lose what goes over it.
//!
//! Every connection is passed on as it is, but for those that carry `submitblock` while the wire
//! is told to do something about it: see [`Fault`].

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use crate::support::PATIENCE;

/// What happens to a block on its way to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It does not arrive before the fault is over.
    Held,
    /// It arrives, and the connection breaks before the answer has come back.
    Unanswered,
    /// The node's templates promise more than a block may pay.
    Lies,
}

/// What the wire does, and what has happened on it.
#[derive(Debug)]
struct State {
    fault: Fault,
    blocks: u32,
}

/// A listening wire. Its threads end with the connections that they carry.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Wire {
    pub(crate) fn to(node_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new((Mutex::new(State { fault: Fault::None, blocks: 0 }), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for pool in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || carry(&pool, node_port, &shared));
            }
        });
        Self { address, state }
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.state.0.lock().unwrap().fault = fault;
        self.state.1.notify_all();
    }

    /// Waits until a block has met the fault.
    pub(crate) fn wait_for_block(&self) {
        let state = self.state.0.lock().unwrap();
        let none = |state: &mut State| state.blocks == 0;
        let (_state, timeout) = self.state.1.wait_timeout_while(state, PATIENCE, none).unwrap();
        assert!(!timeout.timed_out(), "no block was handed in");
    }
}

/// Passes bytes on in both directions until either end closes.
fn carry(pool: &TcpStream, node_port: u16, shared: &Arc<(Mutex<State>, Condvar)>) {
    let Ok(node) = TcpStream::connect(("127.0.0.1", node_port)) else { return };
    let (answers, to_pool) = (node.try_clone().unwrap(), pool.try_clone().unwrap());
    let lying = Arc::clone(shared);
    let back = thread::spawn(move || {
        pass(answers, to_pool, |bytes, _| {
            if lying.0.lock().unwrap().fault == Fault::Lies {
                lie(bytes);
            }
            true
        });
    });
    pass(pool.try_clone().unwrap(), node.try_clone().unwrap(), |bytes, to_node| {
        if !bytes.windows(11).any(|window| window == b"submitblock") {
            return true;
        }
        let mut state = shared.0.lock().unwrap();
        if matches!(state.fault, Fault::None | Fault::Lies) {
            return true;
        }
        state.blocks += 1;
        shared.1.notify_all();
        if state.fault == Fault::Held {
            drop(shared.1.wait_while(state, |state| state.fault == Fault::Held).unwrap());
            return true;
        }
        drop(state);
        let _ = pool.shutdown(Shutdown::Both);
        // The rest of the block, if it was not all in these bytes, is gone with the connection.
        let _ = to_node.write_all(bytes);
        thread::sleep(Duration::from_millis(300));
        false
    });
    let _ = (node.shutdown(Shutdown::Both), pool.shutdown(Shutdown::Both));
    let _ = back.join();
}

/// Replaces the first digit of a coinbase's value.
fn lie(bytes: &mut [u8]) {
    const FIELD: &[u8] = b"\"coinbasevalue\":";
    let at = bytes.windows(FIELD.len()).position(|window| window == FIELD);
    if let Some(digit) = at.and_then(|at| bytes.get_mut(at + FIELD.len())) {
        *digit = b'9';
    }
}

fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    mut look: impl FnMut(&mut [u8], &mut TcpStream) -> bool,
) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !look(&mut buffer[..length], &mut to) || to.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
