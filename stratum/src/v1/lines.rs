//! Cuts a stream of bytes into lines, with a limit, scanning each byte once and copying only what
//! a read left unfinished. Nothing is left allocated behind a finished line.

use defences::{Defence, stands};

/// The unfinished end of what was read so far.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    partial: Vec<u8>,
}

/// A line longer than the limit; nothing after it can be trusted to be a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineTooLong;

impl LineBuffer {
    /// What was read and is no line yet.
    pub(crate) fn unfinished(&self) -> &[u8] {
        &self.partial
    }

    /// Goes on from what another buffer had.
    pub(crate) fn from_unfinished(bytes: &[u8]) -> Self {
        Self { partial: bytes.to_vec() }
    }

    /// Takes what one read brought and calls `each` with every finished line, newline taken off.
    /// `limit` is asked before each line, since it may change as lines are understood; `each`
    /// returning an error ends it.
    pub(crate) fn feed<S, E>(
        &mut self,
        mut input: &[u8],
        state: &mut S,
        limit: impl Fn(&S) -> usize,
        mut each: impl FnMut(&mut S, &[u8]) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<LineTooLong>,
    {
        let too_long =
            |length: usize, state: &S| stands(Defence::LineLength) && length > limit(state);
        while let Some(end) = memchr::memchr(b'\n', input) {
            let (head, tail) = (&input[..end], &input[end + 1..]);
            input = tail;
            if too_long(self.partial.len() + head.len(), state) {
                return Err(LineTooLong.into());
            }
            if self.partial.is_empty() {
                each(state, head)?;
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(head);
                each(state, &line)?;
            }
        }
        if too_long(self.partial.len() + input.len(), state) {
            return Err(LineTooLong.into());
        }
        // As many as there are: most connections that wait with half a line wait for long.
        self.partial.reserve_exact(input.len());
        self.partial.extend_from_slice(input);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(chunks: &[&[u8]], limit: usize) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            buffer.feed(
                chunk,
                &mut lines,
                |_| limit,
                |lines: &mut Vec<Vec<u8>>, line| {
                    lines.push(line.to_vec());
                    Ok::<(), LineTooLong>(())
                },
            )?;
        }
        Ok(lines)
    }

    #[test]
    fn joins_what_reads_cut() {
        let lines = cut(&[b"ab", b"c\nd", b"\n\nrest"], 3).unwrap_err();
        assert_eq!(lines, LineTooLong, "the unfinished end counts as well");
        let lines = cut(&[b"ab", b"c\nd", b"\n\nre"], 3).unwrap();
        assert_eq!(lines, [b"abc".to_vec(), b"d".to_vec(), Vec::new()]);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_lines(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            at in 0_usize..200,
        ) {
            let at = at.min(bytes.len());
            let whole = cut(&[&bytes], 1000).unwrap();
            let parts = cut(&[&bytes[..at], &bytes[at..]], 1000).unwrap();
            prop_assert_eq!(whole, parts);
        }
    }
}
