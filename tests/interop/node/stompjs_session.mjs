// One session of @stomp/stompjs against the broker at ws://127.0.0.1:PORT: prints what it saw as JSON.
import { Client, Versions } from "@stomp/stompjs";
import { WebSocket } from "ws";

const [port, version] = process.argv.slice(2);
// The client escapes headers in 1.2 only.
const odd = version === "1.2" ? "a:b\\ \nd" : "plain";
const seen = { version: null, text: [], binary: [], acked: [], topic: [], reply: null,
               receipts: [], error: null };

const client = new Client({
  stompVersions: new Versions([version]),
  webSocketFactory: () => new WebSocket(`ws://127.0.0.1:${port}/ws`, [`v${version.replace(".", "")}.stomp`]),
  connectHeaders: { login: "guest", passcode: "guest", host: "/" },
  heartbeatIncoming: 10000,
  heartbeatOutgoing: 10000,
  reconnectDelay: 0,
});

function until(condition, what) {
  return new Promise((resolve, reject) => {
    const giveUp = setTimeout(() => reject(new Error(`no ${what}: ${JSON.stringify(seen)}`)), 60000);
    const look = () => condition() ? (clearTimeout(giveUp), resolve()) : setTimeout(look, 5);
    look();
  });
}

function withReceipt(name, act) {
  const done = new Promise((resolve) => client.watchForReceipt(name, (frame) => {
    seen.receipts.push(frame.headers["receipt-id"]);
    resolve();
  }));
  act({ receipt: name });
  return done;
}

async function session() {
  client.subscribe("/queue/js.text", (message) => seen.text.push([message.body, message.headers.odd]));
  client.publish({ destination: "/queue/js.text", body: "caf\u00e9", headers: { odd } });
  await until(() => seen.text.length === 1, "text");

  client.subscribe("/queue/js.binary", (message) => seen.binary.push([...message.binaryBody]));
  client.publish({ destination: "/queue/js.binary", binaryBody: new Uint8Array([0, 1, 255, 10, 0]) });
  await until(() => seen.binary.length === 1, "binary");

  client.subscribe("/queue/js.ack", (message) => {
    seen.acked.push([message.body, message.headers.redelivered]);
    if (seen.acked.length === 1) message.nack(); else message.ack();
  }, { ack: "client-individual", "prefetch-count": "1" });
  client.publish({ destination: "/queue/js.ack", body: "again" });
  await until(() => seen.acked.length === 2, "redelivery");

  await withReceipt("subscribed", (headers) =>
    client.subscribe("/topic/js.*", (message) => seen.topic.push(message.headers.destination), headers));
  const transaction = client.begin();
  client.publish({ destination: "/topic/js.a", headers: { transaction: transaction.id } });
  client.publish({ destination: "/topic/js.b", headers: { transaction: transaction.id } });
  transaction.commit();
  await until(() => seen.topic.length === 2, "transaction");

  client.subscribe("/queue/js.work", (message) =>
    client.publish({ destination: message.headers["reply-to"], body: `${message.body}!` }));
  client.onUnhandledMessage = (message) => { seen.reply = [message.headers.subscription, message.body]; };
  client.publish({ destination: "/queue/js.work", body: "hello", headers: { "reply-to": "/temp-queue/js" } });
  await until(() => seen.reply, "reply");

  await withReceipt("stored", (headers) =>
    client.publish({ destination: "/queue/js.kept", body: "kept", headers }));
}

client.onStompError = (frame) => { seen.error = frame.headers.message + ": " + frame.body; };
client.onConnect = async (frame) => {
  seen.version = frame.headers.version;
  try {
    await session();
    await client.deactivate();
    console.log(JSON.stringify(seen));
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
};
client.activate();
