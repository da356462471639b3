//! Connections opened to servers of our own making: what is believed over TLS and what is not, and
//! proxies with their moods.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::version;

use super::*;
use crate::testing::doors::{self, Authority, Door, Identity, Socks};
use crate::upstream::proxy::Login;
use crate::upstream::tls::authorities;

/// A server that says everything back.
async fn echo() -> Door {
    doors::open(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.ok().map(drop)
    })
    .await
}

fn pool(url: &str) -> Pool {
    Pool {
        url: url.parse().unwrap(),
        user: "u".to_owned(),
        password: config::Secret::new("x"),
        fingerprint: None,
        proxy: None,
    }
}

fn pool_at(scheme: &str, host: &str, address: SocketAddr) -> Pool {
    pool(&format!("{scheme}://{host}:{}", address.port()))
}

fn dialer(authorities: RootCertStore) -> Dialer {
    Dialer::new(authorities, Duration::from_secs(5))
}

/// Opens and hears its own words.
async fn talk(dialer: &Dialer, pool: &Pool) -> Result<(), String> {
    let mut wire = dialer.open(pool).await?;
    wire.write_all(b"hello").await.unwrap();
    wire.flush().await.unwrap();
    let mut heard = [0; 5];
    wire.read_exact(&mut heard).await.map_err(|error| error.to_string())?;
    assert_eq!(&heard, b"hello");
    Ok(())
}

#[tokio::test]
async fn what_a_known_authority_signed_for_the_name_is_believed() {
    let (echo, authority) = (echo().await, Authority::new());
    let identity = authority.sign(&["localhost", "127.0.0.1"], false);
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        let door = doors::tls_of(&identity, echo.address, versions).await;
        for host in ["localhost", "127.0.0.1"] {
            let pool = pool_at("stratum+ssl", host, door.address);
            assert_eq!(talk(&dialer(authority.roots()), &pool).await, Ok(()), "{host}");
        }
    }
}

#[tokio::test]
async fn any_other_certificate_is_refused_with_the_reason_and_its_fingerprint() {
    let (echo, authority, stranger) = (echo().await, Authority::new(), Authority::new());
    for (identity, why) in [
        (stranger.sign(&["localhost"], false), "its signature is not that of the authority"),
        (Identity::of_its_own(&["localhost"]), "no known authority signed it"),
        (authority.sign(&["pool.example"], false), "it is not for localhost"),
        (authority.sign(&["localhost"], true), "it has expired"),
    ] {
        let door = doors::tls(&identity, echo.address).await;
        let pool = pool_at("stratum+ssl", "localhost", door.address);
        let said = talk(&dialer(authority.roots()), &pool).await.unwrap_err();
        assert!(said.contains(why) && said.contains(&identity.fingerprint()), "{said}");
        assert!(!said.contains('\n'), "{said}");
    }
}

#[tokio::test]
async fn a_pin_stands_for_authority_name_and_date_and_for_nothing_but_its_certificate() {
    let echo = echo().await;
    let odd = Authority::new().sign(&["pool.example"], true);
    let door = doors::tls(&odd, echo.address).await;
    let mut pool = pool_at("stratum+ssl", "localhost", door.address);
    let dialer = dialer(authorities());
    pool.fingerprint = Some(odd.fingerprint().parse().unwrap());
    assert_eq!(talk(&dialer, &pool).await, Ok(()));

    let another = Identity::of_its_own(&["localhost"]);
    pool.fingerprint = Some(another.fingerprint().parse().unwrap());
    let said = talk(&dialer, &pool).await.unwrap_err();
    assert!(said.contains("not the one that is pinned"), "{said}");
    assert!(said.contains(&odd.fingerprint()) && said.contains(&another.fingerprint()), "{said}");
}

#[tokio::test]
async fn a_pinned_certificate_without_its_key_is_of_no_use() {
    let echo = echo().await;
    let (pinned, thief) = (Identity::of_its_own(&["a"]), Identity::of_its_own(&["a"]));
    let stolen = Identity { certificate: pinned.certificate.clone(), key: thief.key };
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        let door = doors::tls_of(&stolen, echo.address, versions).await;
        let mut pool = pool_at("stratum+ssl", "localhost", door.address);
        pool.fingerprint = Some(pinned.fingerprint().parse().unwrap());
        let said = talk(&dialer(authorities()), &pool).await.unwrap_err();
        assert!(said.starts_with("TLS: ") && said.contains("ignature"), "{said}");
    }
}

#[tokio::test]
async fn a_port_that_speaks_no_tls_is_told_by_what_it_does() {
    let plain = echo().await;
    let closing = doors::open(|stream| async move {
        drop(stream);
        None
    })
    .await;
    let silent = doors::open(|stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let nowhere = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let dialer = Dialer::new(authorities(), Duration::from_secs(1));
    for (address, why) in [
        (plain.address, "TLS"),
        (closing.address, "does this port speak TLS?"),
        (silent.address, "no answer to our opening of TLS within 1 s"),
        (nowhere, "nothing listens there"),
    ] {
        let pool = pool_at("stratum+ssl", "127.0.0.1", address);
        let said = talk(&dialer, &pool).await.unwrap_err();
        assert!(said.contains(why), "{why} is not in: {said}");
    }
    let words = doors::open(|mut stream| async move {
        stream.write_all(b"{\"id\":null,\"method\":\"mining.notify\"}\n").await.ok()
    })
    .await;
    let said = talk(&dialer, &pool_at("stratum+ssl", "127.0.0.1", words.address)).await;
    assert!(said.unwrap_err().contains("is it meant to be stratum+tcp?"));
}

fn through(mut pool: Pool, door: &Door, login: Option<(&str, &str)>) -> Pool {
    let proxy: Proxy = format!("socks5://{}", door.address).parse().unwrap();
    let login = login.map(|(user, password)| {
        Login::new(user.to_owned(), config::Secret::new(password)).unwrap()
    });
    pool.proxy = Some(match login {
        Some(login) => proxy.with(login),
        None => proxy,
    });
    pool
}

#[tokio::test]
async fn a_proxy_gets_the_pools_name_and_not_an_address() {
    let (echo, asked) = (echo().await, Arc::new(Mutex::new(Vec::new())));
    let dialer = dialer(authorities());
    for login in [None, Some(("rig1", "hunter2"))] {
        let manner = Socks { login, answer: 0, asked: Arc::clone(&asked) };
        let door = doors::socks(manner, echo.address).await;
        for url in ["stratum+tcp://pool.invalid:3333", "stratum+tcp://192.0.2.1:4444"] {
            assert_eq!(talk(&dialer, &through(pool(url), &door, login)).await, Ok(()));
        }
    }
    let name = ("pool.invalid".to_owned(), 3333);
    let address = ("192.0.2.1".to_owned(), 4444);
    assert_eq!(*asked.lock().unwrap(), [name.clone(), address.clone(), name, address]);
}

#[tokio::test]
async fn tls_goes_through_a_proxy_too() {
    let (echo, authority) = (echo().await, Authority::new());
    let encrypted = doors::tls(&authority.sign(&["pool.invalid"], false), echo.address).await;
    let manner = Socks { login: None, answer: 0, asked: Arc::default() };
    let door = doors::socks(manner, encrypted.address).await;
    let pool = through(pool("stratum+ssl://pool.invalid:3443"), &door, None);
    assert_eq!(talk(&dialer(authority.roots()), &pool).await, Ok(()));
    let said = talk(&dialer(authorities()), &pool).await.unwrap_err();
    assert!(said.contains("no known authority signed it"), "{said}");
}

#[tokio::test]
async fn a_proxys_refusals_name_the_proxy_and_never_the_password() {
    let echo = echo().await;
    let dialer = dialer(authorities());
    let wanted = Some(("rig1", "hunter2"));
    for (manner, login, why) in [
        (wanted, None, "proxy_user and proxy_password set?"),
        (wanted, Some(("rig1", "hunter3")), "does not take proxy_user"),
        (None, None, "it says of the pool: Connection refused"),
    ] {
        let manner = Socks { login: manner, answer: 5, asked: Arc::default() };
        let door = doors::socks(manner, echo.address).await;
        let pool = through(pool("stratum+tcp://pool.invalid:3333"), &door, login);
        let said = talk(&dialer, &pool).await.unwrap_err();
        assert!(said.contains(why), "{why} is not in: {said}");
        assert!(said.starts_with(&format!("proxy socks5://{}: ", door.address)), "{said}");
        assert!(!said.contains("hunter"), "{said}");
    }
    let no_proxy = through(pool("stratum+tcp://pool.invalid:3333"), &echo, None);
    let said = talk(&dialer, &no_proxy).await.unwrap_err();
    assert!(said.starts_with("proxy socks5://"), "{said}");
}
