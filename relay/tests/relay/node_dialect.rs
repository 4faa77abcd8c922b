//! What a meshd relies on.

use crate::client::{Client, Frame};
use crate::server::Server;
use meshlink_api::relay::{MESSAGE_BYTES_MAX, MeshFrame, Text};

/// The handle and device id of the node that is announced next.
fn present(client: &mut Client) -> (u32, String) {
    let bytes = client.receive_binary();
    match MeshFrame::decode(&bytes) {
        Ok(MeshFrame::Present { handle, device_id }) => (handle, device_id.to_owned()),
        other => panic!("{other:?} instead of Present"),
    }
}

fn send(client: &mut Client, frame: MeshFrame<'_>) {
    client.send_binary(&frame.encode());
}

#[test]
fn nodes_hear_of_each_other_and_their_frames_arrive_with_the_senders_handle() {
    let server = Server::start();
    let mut a = Client::node(server.address, "a");
    let mut b = Client::node(server.address, "b");
    let (to_b, name_b) = present(&mut a);
    let (to_a, name_a) = present(&mut b);
    assert_eq!((name_a.as_str(), name_b.as_str()), ("a", "b"));
    let mut c = Client::node(server.address, "c");
    assert_eq!([present(&mut c).1, present(&mut c).1].concat().len(), 2);
    present(&mut a);
    present(&mut b);

    let payload: Vec<u8> = (0..=255).cycle().take(MESSAGE_BYTES_MAX - 5).collect();
    send(&mut a, MeshFrame::Data { handle: to_b, payload: &payload });
    assert_eq!(b.receive_binary(), MeshFrame::Data { handle: to_a, payload: &payload }.encode());
    send(&mut b, MeshFrame::Credit { handle: to_a, bytes: 65_531 });
    assert_eq!(a.receive_binary(), MeshFrame::Credit { handle: to_b, bytes: 65_531 }.encode());
    send(&mut b, MeshFrame::Reset { handle: to_a, why: "enough" });
    assert_eq!(a.receive_binary(), MeshFrame::Reset { handle: to_b, why: "enough" }.encode());
    drop(b);
    assert_eq!(a.receive_binary(), MeshFrame::Gone { handle: to_b }.encode());
    assert_eq!(c.receive_binary(), MeshFrame::Gone { handle: to_b }.encode());
    send(&mut a, MeshFrame::Data { handle: to_b, payload: b"x" });
    assert_eq!(a.receive_binary(), MeshFrame::Reset { handle: to_b, why: "not here" }.encode());
}

#[test]
fn text_goes_from_json_clients_to_all_and_from_nodes_to_json_clients() {
    let server = Server::start();
    let mut json = Client::json(server.address);
    let mut a = Client::node(server.address, "a");
    let mut b = Client::node(server.address, "b");
    present(&mut a);
    present(&mut b);
    let post = serde_json::to_string(&Text {
        kind: Text::TYPE.to_owned(),
        payload: "hi".to_owned(),
        sender_id: "a".to_owned(),
        timestamp: 1,
        message_id: Some("m".to_owned()),
    });
    let post = post.unwrap();
    a.send_text(&post);
    assert_eq!(json.receive_text(), post);
    json.send_text(&post);
    assert_eq!(a.receive_text(), post);
    // Had b got a's post, it would come first.
    assert_eq!(b.receive_text(), post);
    json.send(0x88, &[]);
    assert!(matches!(json.receive(), Frame::Close(..)));
    a.send_text("{}");
    assert_eq!(a.receive_error(), "missing_type");
    send(&mut a, MeshFrame::Gone { handle: 1 });
    assert_eq!(a.receive_error(), "invalid_frame");
}

#[test]
fn y08_two_bearers_of_a_device_id_are_two_nodes() {
    let server = Server::start();
    let mut watcher = Client::node(server.address, "watcher");
    let mut first = Client::node(server.address, "same");
    let first_handle = present(&mut watcher).0;
    let mut second = Client::node(server.address, "same");
    let second_handle = present(&mut watcher).0;
    assert_ne!(first_handle, second_handle);
    present(&mut first);
    present(&mut second);
    present(&mut second);
    assert_eq!(present(&mut first).1, "same");
    send(&mut watcher, MeshFrame::Data { handle: first_handle, payload: b"for the first" });
    send(&mut watcher, MeshFrame::Data { handle: second_handle, payload: b"for the second" });
    assert_eq!(first.receive_binary()[5..], *b"for the first");
    assert_eq!(second.receive_binary()[5..], *b"for the second");
    drop(second);
    assert_eq!(watcher.receive_binary(), MeshFrame::Gone { handle: second_handle }.encode());
}

#[test]
fn thousands_of_frames_over_a_link_arrive_in_order() {
    let server = Server::start();
    let mut a = Client::node(server.address, "a");
    let mut b = Client::node(server.address, "b");
    let to_b = present(&mut a).0;
    let to_a = present(&mut b).0;
    let reader = std::thread::spawn(move || {
        for n in 0..20_000_u32 {
            let payload = [n.to_be_bytes().as_slice(), &[7; 200]].concat();
            assert_eq!(b.receive_binary(), MeshFrame::Data { handle: to_a, payload: &payload }.encode());
            if n % 256 == 255 {
                send(&mut b, MeshFrame::Credit { handle: to_a, bytes: 256 * 204 });
            }
        }
    });
    let mut credit = i64::from(meshlink_api::relay::WINDOW_BYTES);
    for n in 0..20_000_u32 {
        while credit < 204 {
            match MeshFrame::decode(&a.receive_binary()) {
                Ok(MeshFrame::Credit { handle, bytes }) if handle == to_b => credit += i64::from(bytes),
                other => panic!("{other:?}"),
            }
        }
        let payload = [n.to_be_bytes().as_slice(), &[7; 200]].concat();
        send(&mut a, MeshFrame::Data { handle: to_b, payload: &payload });
        credit -= 204;
    }
    reader.join().unwrap();
}
