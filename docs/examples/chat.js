// A chat over the API of meshd: list, watch, send. Start it with `meshd --ui docs/examples`.
const [login, send, list, state] = ["login", "send", "messages", "state"].map((id) => document.getElementById(id));
let token = sessionStorage.getItem("token"); // gone when the tab is closed
let last; // the newest event seen: a stream resumes after it

async function api(path, method = "GET", body) {
  const headers = { Authorization: `Bearer ${token}`, ...(body && { "Content-Type": "application/json" }) };
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const object = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(object.detail), object);
  return object;
}

function show(message) {
  const line = document.getElementById(message.id) ?? list.appendChild(document.createElement("li"));
  const name = message.from.me ? "me" : (message.from.name ?? message.from.id.slice(0, 8));
  line.id = message.id;
  // Whatever others wrote is text, never HTML.
  line.textContent = `${name}${message.from.authenticated ? "" : " (unverified)"}: ${message.text} [${message.status}]`;
}

async function start() {
  try {
    last ??= (await api("/v1/status")).cursor; // before the list, so that nothing falls in between
    (await api("/v1/messages")).items.reverse().forEach(show);
    const { ticket } = await api("/v1/events/ticket", "POST"); // EventSource can't send the token
    const events = new EventSource(`/v1/events?ticket=${ticket}&since=${last}`);
    for (const type of ["message.new", "message.status", "gap"])
      events.addEventListener(type, (event) => {
        last = event.lastEventId;
        if (type !== "gap") show(JSON.parse(event.data)); // after a gap the log goes on; the list above has the rest
      });
    events.onopen = () => enter(true, "connected");
    events.onerror = () => again(events, "connection lost, trying again");
  } catch (error) {
    if (error.status === 401) enter(false, error.message);
    else again(null, error.message);
  }
}

function again(events, why) {
  events?.close(); // by itself it would come back with the used ticket
  state.textContent = why;
  setTimeout(start, 1000);
}

function enter(inside, why) {
  [login.hidden, send.hidden, state.textContent] = [inside, !inside, why];
}

login.onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", (token = login.token.value.trim()));
  start();
};

send.onsubmit = async (event) => {
  event.preventDefault();
  try {
    show(await api("/v1/messages", "POST", { text: send.text.value }));
    send.reset();
  } catch (error) {
    state.textContent = error.message;
  }
};

if (token) start();
