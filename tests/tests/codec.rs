//! Frames: what the decoders make of bytes, in whatever pieces they come, and what a connection does with frames.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::FusedStream;
use futures_io::{AsyncRead, AsyncWrite};
use wakeful::codec::{Bytes, Decoder, Delimited, Encoder, Framed, LengthDelimited, Lines, Parts};
use wakeful::io::duplex;
use wakeful::net::{TcpListener, TcpStream};
use wakeful_tests::pieces::{Decoded, Pieces, decoded, encoded};
use wakeful_tests::{bytes, impatiently, on_workers};

#[test]
fn lines_are_those_of_the_reference_whatever_the_pieces() {
    for seed in 0..ROUNDS {
        let text = random(seed, &[b'a', b'a', b'a', b'\r', b'\n', 0xc3, 0xa9], 40);
        let max = text.len() % 7;
        let kinds = [
            (Lines::new(), "\n", "\r\n"),
            (Lines::lf(), "\n", "\n"),
            (Lines::crlf(), "\r\n", "\r\n"),
        ];
        for (lines, end, longest_end) in kinds {
            let mut expected = split(&text, end.as_ref(), longest_end.as_ref(), max, "a line");
            // A frame that is no text ends all.
            let is_text = |frame: &Vec<u8>| str::from_utf8(frame).is_ok();
            if let Some(bad) = expected.0.iter().position(|frame| !is_text(frame)) {
                let error = str::from_utf8(&expected.0[bad]).unwrap_err();
                let sentence = format!("a line is not UTF-8: {error}");
                expected.0.truncate(bad);
                expected.1 = Some((ErrorKind::InvalidData, sentence));
            }
            let expected: Decoded<String> = (
                (expected.0.into_iter())
                    .map(|frame| String::from_utf8(frame).unwrap())
                    .collect(),
                expected.1,
            );
            let lines = lines.max_bytes(max);
            for pieces in 0..4 {
                let stream = Pieces::cut(&text, 4 * seed + pieces);
                let context = format!("{text:?} as {lines:?}, seed {seed}");
                assert_eq!(decoded(lines.clone(), stream), expected, "{context}");
            }
        }
    }
}

#[test]
fn delimited_frames_are_those_of_the_reference_whatever_the_pieces() {
    for seed in 0..ROUNDS {
        let text = random(seed, b"aab", 40);
        let delimiter = random(seed + ROUNDS, b"aab", 5);
        if delimiter.is_empty() {
            continue;
        }
        let max = text.len() % 9;
        let expected = split(&text, &delimiter, &delimiter, max, "a frame");
        let decoder = Delimited::new(&delimiter).max_bytes(max);
        for pieces in 0..4 {
            let stream = Pieces::cut(&text, 4 * seed + pieces);
            let context = format!("{text:?} by {delimiter:?}, at most {max}, seed {seed}");
            assert_eq!(decoded(decoder.clone(), stream), expected, "{context}");
        }
    }
}

#[test]
fn length_delimited_frames_are_those_that_were_sent_whatever_the_pieces() {
    for seed in 0..ROUNDS {
        let numbers = random(seed, &(0..=255).collect::<Vec<_>>(), 8);
        let pick = |at: usize, below: u8| numbers.get(at).map_or(0, |n| usize::from(n % below));
        let (width, offset) = ([1, 2, 4, 8][pick(0, 4)], pick(1, 4));
        let adjustment = pick(2, 9) as i32 - 4;
        let is_little_endian = pick(3, 2) == 1;
        let mut codec = LengthDelimited::new()
            .width(width)
            .offset(offset)
            .adjustment(adjustment);
        if is_little_endian {
            codec = codec.little_endian();
        }
        let frames: Vec<Vec<u8>> = (0..pick(4, 6))
            .map(|n| bytes::Bytes(seed + n as u64).take(offset + 4 + pick(5 + n % 3, 90)))
            .collect();
        let mut expected_bytes = Vec::new();
        for frame in &frames {
            let (header, body) = frame.split_at(offset);
            let length = (body.len() as i32 + adjustment) as u64;
            expected_bytes.extend_from_slice(header);
            match is_little_endian {
                true => expected_bytes.extend_from_slice(&length.to_le_bytes()[..width]),
                false => expected_bytes.extend_from_slice(&length.to_be_bytes()[8 - width..]),
            }
            expected_bytes.extend_from_slice(body);
        }
        let sent = encoded(&codec, &frames).unwrap();
        assert_eq!(sent, expected_bytes, "{codec:?}, seed {seed}");
        for pieces in 0..4 {
            let stream = Pieces::cut(&sent, 4 * seed + pieces);
            let context = format!("{codec:?}, seed {seed}");
            assert_eq!(
                decoded(codec.clone(), stream),
                (frames.clone(), None),
                "{context}"
            );
        }
    }
}

/// Whatever an encoder accepts arrives as it was, behind and before others; whatever it refuses would not have.
#[test]
fn what_can_be_sent_arrives_and_what_would_not_arrive_cannot_be_sent() {
    for seed in 0..ROUNDS {
        let text = random(seed, b"ab\r\n", 7);
        let line = str::from_utf8(&text).unwrap();
        for (lines, end) in [
            (Lines::new(), "\n"),
            (Lines::lf(), "\n"),
            (Lines::crlf(), "\r\n"),
        ] {
            let lines = lines.max_bytes(5);
            let raw = format!("b{end}{line}{end}b{end}");
            let arrives = decoded(lines.clone(), Pieces::cut(raw.as_bytes(), 0))
                == (vec!["b".to_owned(), line.to_owned(), "b".to_owned()], None);
            let sent = encoded(&lines, ["b", line, "b"]);
            assert_eq!(sent.is_ok(), arrives, "{line:?} by {lines:?}");
            assert!(sent.map_or_else(
                |error| error.kind() == ErrorKind::InvalidInput,
                |sent| sent == raw.as_bytes()
            ));
        }
        for delimiter in ["a", "aa", "ab", "aba"] {
            let codec = Delimited::new(delimiter).max_bytes(5);
            let other = b"\r".to_vec();
            let raw = [&other, delimiter.as_bytes(), &text, delimiter.as_bytes()].concat();
            let arrives = decoded(codec.clone(), Pieces::cut(&raw, 0))
                == (vec![other.clone(), text.clone()], None);
            let sent = encoded(&codec, [&other, &text]);
            assert_eq!(sent.is_ok(), arrives, "{line:?} by {delimiter:?}");
            assert!(sent.map_or_else(
                |error| error.kind() == ErrorKind::InvalidInput,
                |sent| sent == raw
            ));
        }
    }
}

#[test]
fn a_frame_without_a_length_that_fits_cannot_be_sent() {
    let refusal = |codec: LengthDelimited, len: usize| {
        let mut output = b"before".to_vec();
        let error = codec.encode(&vec![0; len], &mut output).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.to_string()
    };
    let codec = LengthDelimited::new();
    assert_eq!(
        refusal(codec.clone().width(1), 256),
        "the length 256 does not fit into 1 bytes"
    );
    assert_eq!(
        refusal(codec.clone().adjustment(-4), 3),
        "the length -1 does not fit into 4 bytes"
    );
    assert_eq!(
        refusal(codec.clone().offset(3), 2),
        "a frame of 2 bytes lacks a part of the 3 that stand before its length"
    );
    assert_eq!(
        refusal(codec.max_bytes(9), 10),
        "a frame of 10 bytes is longer than the 9 that it may have"
    );
}

#[test]
fn each_kind_of_bad_stream_has_its_sentence() {
    #[track_caller]
    fn ends<D: Decoder + Clone>(decoder: D, bytes: &[u8], kind: ErrorKind, sentence: &str) {
        for seed in 0..8 {
            let (_, error) = decoded(decoder.clone(), Pieces::cut(bytes, seed));
            assert_eq!(error, Some((kind, sentence.to_owned())));
        }
    }
    let (malformed, truncated) = (ErrorKind::InvalidData, ErrorKind::UnexpectedEof);
    let long = vec![b'x'; (64 << 10) + 1];
    let sentence = "a line is longer than the 65536 bytes that it may have";
    ends(Lines::new(), &long, malformed, sentence);
    let sentence = "a frame is longer than the 65536 bytes that it may have";
    ends(Delimited::new("\0"), &long, malformed, sentence);
    let sentence = "a frame is longer than the 1048576 bytes that it may have";
    ends(
        LengthDelimited::new(),
        &[0, 0x10, 0, 1],
        malformed,
        sentence,
    );
    for width in [4, 8] {
        let decoder = LengthDelimited::new().width(width);
        ends(decoder, &[0xff; 8], malformed, sentence);
    }
    let all = LengthDelimited::new().width(8).max_bytes(usize::MAX);
    let sentence = format!(
        "the stream ended within a frame, after 9 of its {} bytes",
        256 + 8
    );
    ends(
        all.clone(),
        &[0, 0, 0, 0, 0, 0, 1, 0, 7],
        truncated,
        &sentence,
    );
    let sentence = format!(
        "a frame is longer than the {} bytes that it may have",
        usize::MAX
    );
    ends(all.adjustment(-1), &[0xff; 8], malformed, &sentence);
    let sentence = "a frame has the length 3, of which 4 are not its own";
    let postgres = LengthDelimited::new().offset(1).adjustment(4);
    ends(postgres, &[b'Q', 0, 0, 0, 3, 1, 2, 3], malformed, sentence);
    let sentence = "a line is not UTF-8: invalid utf-8 sequence of 1 bytes from index 1";
    ends(Lines::new(), b"good\nx\xffy\n", malformed, sentence);

    let sentence = "the stream ended within a line, after 4 bytes of it";
    ends(Lines::new(), b"whole\npart", truncated, sentence);
    let sentence = "the stream ended within a frame, after 4 bytes of it";
    ends(Delimited::new("--"), b"whole--par-", truncated, sentence);
    let sentence = "the stream ended within a frame, after 3 bytes of it";
    ends(LengthDelimited::new(), &[0, 0, 0], truncated, sentence);
}

/// If it did, it would find the ends that are put where it has looked already.
#[test]
fn no_decoder_looks_at_a_byte_twice() {
    fn grows<D: Decoder<Frame: std::fmt::Debug>>(mut decoder: D, letter: u8, trap: u8, end: u8) {
        let mut input = Vec::new();
        for len in 1..2_000 {
            input.fill(trap);
            input.push(if len == 1_999 { end } else { letter });
            let mut rest = input.as_slice();
            let frame = decoder.decode(&mut rest).unwrap();
            assert_eq!(frame.is_some(), len == 1_999, "{len}: {frame:?}");
            assert_eq!(rest.is_empty(), len == 1_999);
        }
    }
    grows(Lines::new(), b'x', b'\n', b'\n');
    grows(Lines::crlf(), b'\r', b'\r', b'\n');
    grows(Delimited::new("\n"), b'x', b'\n', b'\n');
    // The search waits for the `b`, and forgets no `a` while it does.
    grows(Delimited::new("aaaab"), b'a', b'b', b'b');
}

/// Of the decoder's calls there are as many as of pieces, so all is linear.
#[test]
fn a_decoder_is_asked_once_for_each_piece_that_arrives() {
    #[derive(Default)]
    struct Counts(usize);

    impl Decoder for Counts {
        type Frame = usize;

        fn decode(&mut self, input: &mut &[u8]) -> io::Result<Option<usize>> {
            self.0 += 1;
            let all = input.len() == 1_000;
            if all {
                *input = &[];
            }
            Ok(all.then_some(self.0))
        }
    }

    let (frames, error) = decoded(Counts::default(), Pieces::cut(&[0; 2_000], 1));
    assert_eq!((frames, error), (vec![1_000, 2_000], None));
}

#[test]
fn a_bad_peer_gets_its_error_and_the_others_their_answers() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = wakeful::spawn(async move {
                let mut visits = Vec::new();
                for _ in 0..4 {
                    let (stream, _) = listener.accept().await.unwrap();
                    visits.push(wakeful::spawn(echo(stream)));
                }
                let mut ended = Vec::new();
                for visit in visits {
                    ended.push(visit.await.unwrap().map_err(|error| error.kind()));
                }
                ended
            });
            let mut healthy = Framed::new(TcpStream::connect(address).await.unwrap(), Lines::new());
            healthy.send("before").await.unwrap();
            assert_eq!(healthy.next().await.unwrap().unwrap(), "before");
            for bad in [
                b"no \xff text\n".to_vec(),
                vec![b'x'; 200],
                b"trunc".to_vec(),
            ] {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(&bad).await.unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let ended = stream.read(&mut [0; 16]).await;
                assert!(!matches!(ended, Ok(1..)), "nothing is answered: {ended:?}");
                healthy.send("between").await.unwrap();
                assert_eq!(healthy.next().await.unwrap().unwrap(), "between");
            }
            healthy.close().await.unwrap();
            assert!(healthy.next().await.is_none());
            let malformed = Err(ErrorKind::InvalidData);
            let truncated = Err(ErrorKind::UnexpectedEof);
            let expected = [Ok(()), malformed, malformed, truncated];
            assert_eq!(server.await.unwrap(), expected);
        });
    });

    async fn echo(stream: TcpStream) -> io::Result<()> {
        let mut lines = Framed::new(stream, Lines::new().max_bytes(100));
        while let Some(line) = lines.next().await {
            lines.send(&line?).await?;
        }
        Ok(())
    }
}

#[test]
fn frames_that_are_fed_while_the_peer_does_not_read_are_bounded() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (client, mut server) = duplex(10);
            let mut client = Framed::new(client, Bytes).with_high_water(100);
            let mut fed_count = 0;
            while futures::poll!(Box::pin(client.feed(&[7; 30]))).is_ready() {
                fed_count += 1;
                assert!(client.unwritten_bytes() < 100 + 30);
            }
            let accepted = fed_count * 30;
            assert!(accepted >= 100);
            let reader = wakeful::spawn(async move {
                let mut total = 0;
                while let count @ 1.. = server.read(&mut [0; 64]).await.unwrap() {
                    total += count;
                }
                total
            });
            client.feed(&[8; 30]).await.unwrap();
            client.close().await.unwrap();
            assert_eq!(client.unwritten_bytes(), 0);
            assert_eq!(
                reader.await.unwrap(),
                accepted + 30,
                "what was not fed is not sent"
            );
        });
    });
}

/// Each future is dropped at each await, and made again until it is done.
#[test]
fn frames_stay_whole_whenever_a_future_is_dropped() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = duplex(7);
            let server = wakeful::spawn(async move {
                let mut server = Framed::new(server, LengthDelimited::new());
                let mut frames = Vec::new();
                while let Some(frame) = impatiently!(server.next()) {
                    frames.push(frame.unwrap());
                }
                frames
            });
            let mut client = Framed::new(client, LengthDelimited::new()).with_high_water(20);
            let mut expected = Vec::new();
            for number in 0..200 {
                let frame = bytes::Bytes(number).take(number as usize % 50);
                match number % 3 {
                    0 => client.send(&frame).await.unwrap(),
                    // Until it was fed, none of it was.
                    1 => impatiently!(client.feed(&frame)).unwrap(),
                    _ => {
                        impatiently!(client.flush()).unwrap();
                        // It is fed in the first poll, and then dropped.
                        let _ = futures::poll!(Box::pin(client.send(&frame)));
                    }
                }
                expected.push(frame);
            }
            impatiently!(client.close()).unwrap();
            let frames = server.await.unwrap();
            assert!(frames == expected, "{} of {}", frames.len(), expected.len());
        });
    });
}

#[test]
fn frames_that_are_fed_go_out_together() {
    wakeful::block_on(async {
        let mut framed = Framed::new(Writes::default(), Lines::new());
        for line in ["one", "two", "three"] {
            framed.feed(line).await.unwrap();
        }
        assert!(framed.get_ref().0.is_empty());
        framed.flush().await.unwrap();
        framed.send("four").await.unwrap();
        let error = framed.send("five\nsix").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        framed.flush().await.unwrap();
        assert_eq!(framed.get_ref().0, ["one\ntwo\nthree\n", "four\n"]);
    });
}

#[test]
fn a_connection_goes_on_with_another_codec() {
    wakeful::block_on(async {
        let (client, server) = duplex(1024);
        let mut client = Framed::new(client, Lines::new());
        client.feed("upgrade").await.unwrap();
        let parts = client.into_parts();
        assert_eq!(parts.unwritten, b"upgrade\n");
        let mut client = Framed::from_parts(Parts {
            stream: parts.stream,
            codec: LengthDelimited::new(),
            unread: parts.unread,
            unwritten: parts.unwritten,
        });
        client.send(&[1, 2, 3]).await.unwrap();
        client.close().await.unwrap();

        let mut server = Framed::new(server, Lines::new());
        assert_eq!(server.next().await.unwrap().unwrap(), "upgrade");
        let parts = server.into_parts();
        assert_eq!(parts.unread, [0, 0, 0, 3, 1, 2, 3]);
        let mut server = Framed::from_parts(Parts {
            stream: parts.stream,
            codec: LengthDelimited::new(),
            unread: parts.unread,
            unwritten: parts.unwritten,
        });
        assert_eq!(server.next().await.unwrap().unwrap(), [1, 2, 3]);
        assert!(!server.is_terminated());
        assert!(server.next().await.is_none());
        assert!(server.is_terminated());
    });
}

#[test]
fn what_could_not_be_decoded_is_still_there() {
    wakeful::block_on(async {
        let mut lines = Framed::new(Pieces::cut(b"one\nlast words", 3), Lines::new());
        assert_eq!(lines.next().await.unwrap().unwrap(), "one");
        lines.next().await.unwrap().unwrap_err();
        assert_eq!(lines.into_parts().unread, b"last words");
    });
}

#[test]
fn a_deadline_that_passes_loses_nothing_and_another_error_ends_the_frames() {
    wakeful::block_on(async {
        let script = [
            Ok("li"),
            Err(ErrorKind::TimedOut),
            Ok("ne\nne"),
            Err(ErrorKind::Interrupted),
            Ok("xt\n"),
            Err(ErrorKind::ConnectionReset),
            Ok("never\n"),
        ];
        let mut lines = Framed::new(Script(script.into()), Lines::new());
        let error = lines.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(lines.next().await.unwrap().unwrap(), "line");
        assert_eq!(lines.next().await.unwrap().unwrap(), "next");
        let error = lines.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(lines.next().await.is_none());
    });
}

#[test]
fn the_end_of_the_stream_ends_a_frame_where_the_decoder_says_so() {
    struct ToTheEnd;

    impl Decoder for ToTheEnd {
        type Frame = usize;

        fn decode(&mut self, _: &mut &[u8]) -> io::Result<Option<usize>> {
            Ok(None)
        }

        fn decode_end(&mut self, input: &mut &[u8]) -> io::Result<Option<usize>> {
            let all = std::mem::take(input);
            Ok((!all.is_empty()).then_some(all.len()))
        }
    }

    for seed in 0..4 {
        let stream = Pieces::cut(&[0; 100], seed);
        assert_eq!(decoded(ToTheEnd, stream), (vec![100], None));
    }
}

/// Remembers each write.
#[derive(Debug, Default)]
struct Writes(Vec<String>);

impl AsyncWrite for Writes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.push(str::from_utf8(bytes).unwrap().to_owned());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Answers each read as it says.
struct Script(std::collections::VecDeque<Result<&'static str, ErrorKind>>);

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(match self.0.pop_front() {
            None => Ok(0),
            Some(Err(kind)) => Err(kind.into()),
            Some(Ok(text)) => {
                buffer[..text.len()].copy_from_slice(text.as_bytes());
                Ok(text.len())
            }
        })
    }
}

/// The reference: what stands between the `end`s. What belongs to `longest_end` and stands before an `end` is removed.
fn split(text: &[u8], end: &[u8], longest_end: &[u8], max: usize, what: &str) -> Decoded<Vec<u8>> {
    let too_long = || {
        let sentence = format!("{what} is longer than the {max} bytes that it may have");
        Some((ErrorKind::InvalidData, sentence))
    };
    let mut frames = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(end.len()).position(|window| window == end) {
        let more = &longest_end[..longest_end.len() - end.len()];
        let frame = rest[..at].strip_suffix(more).unwrap_or(&rest[..at]);
        if frame.len() > max {
            return (frames, too_long());
        }
        frames.push(frame.to_vec());
        rest = &rest[at + end.len()..];
    }
    let begun = (0..longest_end.len()).rev();
    let begun = begun
        .into_iter()
        .find(|count| rest.ends_with(&longest_end[..*count]));
    let error = if rest.len() - begun.unwrap() > max {
        too_long()
    } else if rest.is_empty() {
        None
    } else {
        let sentence = format!(
            "the stream ended within {what}, after {} bytes of it",
            rest.len()
        );
        Some((ErrorKind::UnexpectedEof, sentence))
    };
    (frames, error)
}

/// Less than `len_max` of the letters.
fn random(seed: u64, letters: &[u8], len_max: usize) -> Vec<u8> {
    let bytes = bytes::Bytes(seed).take(len_max);
    let len = usize::from(bytes[0]) % len_max;
    let letter = |byte: &u8| letters[usize::from(*byte) % letters.len()];
    bytes[1..=len].iter().map(letter).collect()
}

const ROUNDS: u64 = if cfg!(debug_assertions) {
    3_000
} else {
    100_000
};
