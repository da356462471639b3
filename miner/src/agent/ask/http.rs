//! HTTP, plain or over TLS, a connection for each question.
//!
//! Of logins there are a bearer's token, where there is a password and no user, and, where the device
//! asks for them, Basic and Digest with SHA-256 (RFC 7616), as Shelly's do. A redirection is not followed: a
//! device that sends us elsewhere is not the one that was configured.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ANSWER_MAX, AskError, Place, connect_to, endless};
use crate::upstream::tls::Tls;

/// What came back.
struct Answer {
    status: StatusCode,
    /// How it wants us to log in.
    challenge: Option<String>,
    body: Vec<u8>,
}

/// The body of the answer to a GET, or to a POST where there is a body to send. A password goes out only
/// where it is asked for, in the way that is asked for.
pub(super) async fn ask(
    tls: &Tls,
    place: &Place,
    path: &str,
    body: Option<&str>,
) -> Result<Vec<u8>, AskError> {
    let first = send(tls, place, path, body, bearer(place)).await?;
    let login = match first.status {
        StatusCode::UNAUTHORIZED => login(place, method(body).as_str(), path, &first),
        _ => None,
    };
    match login {
        Some(login) => content(send(tls, place, path, body, Some(login)).await?),
        None => content(first),
    }
}

/// The answer to a GET as it comes.
#[cfg(feature = "asic-rs")]
pub(super) async fn page(tls: &Tls, place: &Place, path: &str) -> Result<super::Page, AskError> {
    let answer = send(tls, place, path, None, None).await?;
    let header = |name: &str| {
        let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (challenge, location) = (header(WWW_AUTHENTICATE.as_str()), header("location"));
    let (algorithm, status) = (header("algorithm"), answer.status().as_u16());
    // Half a page says what it is too.
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let body = body.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    Ok(super::Page { status, challenge, location, algorithm, body })
}

const fn method(body: Option<&str>) -> Method {
    if body.is_some() { Method::POST } else { Method::GET }
}

async fn send(
    tls: &Tls,
    place: &Place,
    path: &str,
    body: Option<&str>,
    login: Option<String>,
) -> Result<Answer, AskError> {
    // An address of version 6 stands in brackets.
    let host =
        if place.host.contains(':') { format!("[{}]", place.host) } else { place.host.clone() };
    let mut request = Request::builder()
        .method(method(body))
        .uri(path)
        .header(HOST, format!("{host}:{}", place.web_port));
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    if let Some(login) = login {
        request = request.header(AUTHORIZATION, login);
    }
    let body = Full::new(Bytes::from(body.unwrap_or_default().to_owned()));
    let request = request.body(body).map_err(|error| AskError::Odd(error.to_string()))?;
    let tcp = connect_to(place, place.web_port).await?;
    if place.tls {
        let shaken = tls.shake_hands(&place.host, place.fingerprint, tcp).await;
        exchange(shaken.map_err(AskError::Lost)?, request).await
    } else {
        exchange(tcp, request).await
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, AskError> {
    let odd = |error: hyper::Error| AskError::Odd(format!("this is no HTTP: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(odd)?;
    // The connection is driven beside us, and ends with this set.
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let answer = sender.send_request(request).await.map_err(odd)?;
    let status = answer.status();
    let challenge = answer.headers().get(WWW_AUTHENTICATE);
    let challenge = challenge.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let cut = |error: Box<dyn std::error::Error + Send + Sync>| {
        if error.is::<http_body_util::LengthLimitError>() {
            endless()
        } else {
            AskError::Lost(format!("its answer broke off: {error}"))
        }
    };
    Ok(Answer { status, challenge, body: body.map_err(cut)?.to_bytes().to_vec() })
}

fn content(answer: Answer) -> Result<Vec<u8>, AskError> {
    match answer.status {
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(AskError::Denied(format!("HTTP {status}")))
        }
        status if !status.is_success() => Err(AskError::Odd(format!("HTTP {status}"))),
        _ => Ok(answer.body),
    }
}

/// A token, which is all that there is to send: whoever takes one does not ask for it.
fn bearer(place: &Place) -> Option<String> {
    let token = place.password.as_ref().filter(|_| place.user.is_none())?;
    Some(format!("Bearer {}", token.expose()))
}

/// The login that an answer asks for, or Basic where it does not say.
fn login(place: &Place, method: &str, path: &str, answer: &Answer) -> Option<String> {
    match answer.challenge.as_deref() {
        Some(challenge) if is(challenge, "Digest") => digest_login(place, method, path, challenge),
        Some(challenge) if !is(challenge, "Basic") => None,
        Some(_) | None => basic_login(place),
    }
}

fn is(challenge: &str, scheme: &str) -> bool {
    let word = challenge.trim().split(' ').next().unwrap_or_default();
    word.eq_ignore_ascii_case(scheme)
}

fn basic_login(place: &Place) -> Option<String> {
    let (user, password) = (place.user.as_ref()?, place.password.as_ref()?.expose());
    Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
}

/// The answer to a Digest challenge with SHA-256; `None` where it is none that we can answer.
fn digest_login(place: &Place, method: &str, path: &str, challenge: &str) -> Option<String> {
    let (user, password) = (place.user.as_ref()?, place.password.as_ref()?.expose());
    let rest = challenge.trim().strip_prefix("Digest ")?;
    let part = |name: &str| {
        let parts = rest.split(',').filter_map(|part| part.split_once('='));
        let mut parts = parts.map(|(name, value)| (name.trim(), value.trim().trim_matches('"')));
        parts.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    if !part("algorithm")?.eq_ignore_ascii_case("SHA-256") {
        return None;
    }
    let (realm, nonce) = (part("realm")?, part("nonce")?);
    // One request for each nonce: its count is always 1, and so is what the client adds.
    let (count, ours) = ("00000001", "1");
    let secret = hash(&format!("{user}:{realm}:{password}"));
    let asked = hash(&format!("{method}:{path}"));
    let response = hash(&format!("{secret}:{nonce}:{count}:{ours}:auth:{asked}"));
    Some(format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{path}\", \
         algorithm=SHA-256, qop=auth, nc={count}, cnonce=\"{ours}\", response=\"{response}\""
    ))
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use config::Secret;

    use super::*;

    fn place(user: Option<&str>) -> Place {
        Place {
            user: user.map(str::to_owned),
            password: Some(Secret::new("open sesame")),
            ..Place::plain("127.0.0.1".to_owned(), 80, 80)
        }
    }

    #[test]
    fn logins_are_written_as_the_standards_say() {
        // RFC 7617 has this one.
        let asks = |challenge: Option<&str>| Answer {
            status: StatusCode::UNAUTHORIZED,
            challenge: challenge.map(str::to_owned),
            body: Vec::new(),
        };
        let aladdin = place(Some("Aladdin"));
        for challenge in [None, Some("Basic realm=\"a\""), Some("basic")] {
            let login = login(&aladdin, "GET", "/", &asks(challenge)).unwrap();
            assert_eq!(login, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        }
        // Never in clear to who offers better, and not at all to who asks for what we cannot do.
        for challenge in ["Digest realm=\"a\", nonce=\"b\", algorithm=MD5", "Negotiate"] {
            assert_eq!(login(&aladdin, "GET", "/", &asks(Some(challenge))), None);
        }
        assert_eq!(bearer(&place(None)).unwrap(), "Bearer open sesame");
        assert_eq!(bearer(&aladdin), None);
    }

    #[test]
    fn a_digest_answers_its_challenge_and_no_other() {
        let mut mufasa = place(Some("Mufasa"));
        mufasa.password = Some(Secret::new("Circle of Life"));
        let challenge = "Digest qop=\"auth\", realm=\"http-auth@example.org\", \
                         nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", algorithm=SHA-256";
        let login = digest_login(&mufasa, "GET", "/dir/index.html", challenge).unwrap();
        let secret = hash("Mufasa:http-auth@example.org:Circle of Life");
        let asked = hash("GET:/dir/index.html");
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let response = hash(&format!("{secret}:{nonce}:00000001:1:auth:{asked}"));
        assert!(login.contains(&format!("response=\"{response}\"")), "{login}");
        assert!(!login.contains("Circle"), "the password stays here");
        assert_eq!(digest_login(&mufasa, "GET", "/", "Digest realm=\"a\", nonce=\"b\""), None);
        assert_eq!(digest_login(&place(None), "GET", "/", challenge), None);
        assert_eq!(digest_login(&mufasa, "GET", "/", "Basic realm=\"a\""), None);
    }
}
