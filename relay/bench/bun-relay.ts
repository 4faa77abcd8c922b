// The prototype's relay, to measure against: Bun's own WebSocket server and its publish/subscribe.
// PORT=18080 bun bun-relay.ts
const port = Number(process.env.PORT ?? 8080);
Bun.serve<{ topic: string; device: string }>({
  hostname: "127.0.0.1",
  port,
  fetch(request, server) {
    const topic = new URL(request.url).searchParams.get("topic") ?? "global-mesh";
    const device = request.headers.get("x-device-id") ?? crypto.randomUUID();
    return server.upgrade(request, { data: { topic, device } }) ? undefined : new Response("relay\n");
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    maxPayloadLength: 64 * 1024,
    backpressureLimit: 64 * 1024 * 1024,
    open: (client) => client.subscribe(client.data.topic),
    message: (client, text) => void client.publish(client.data.topic, text),
    close: (client) => client.unsubscribe(client.data.topic),
  },
});
