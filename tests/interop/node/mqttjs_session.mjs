// MQTT.js against a broker: node mqttjs_session.mjs URL VERSION; prints what it saw as JSON.
import mqtt from "mqtt";

const [url, version] = process.argv.slice(2);
const protocolVersion = Number(version);
const seen = { messages: [], retained: null, will: null, properties: null };

const connect = (clientId, more = {}) =>
  mqtt.connectAsync(url, { clientId, protocolVersion, reconnectPeriod: 0, ...more });

const next = (client, wanted) =>
  new Promise((resolve) => {
    const found = [];
    const take = (topic, payload, packet) => {
      found.push({ topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain, packet });
      if (found.length === wanted) {
        client.off("message", take);
        resolve(found);
      }
    };
    client.on("message", take);
  });

const client = await connect("js-one");
await client.subscribeAsync("js/+", { qos: 2 });
const three = next(client, 3);
for (const qos of [0, 1, 2]) await client.publishAsync(`js/${qos}`, `m${qos}`, { qos });
seen.messages = (await three).map(({ topic, payload, qos }) => [topic, payload, qos]).sort();

await client.publishAsync("kept/js", "kept", { qos: 1, retain: true });
const kept = next(client, 1);
await client.subscribeAsync("kept/#", { qos: 1 });
const [retained] = await kept;
seen.retained = [retained.payload, retained.retain];

if (protocolVersion === 5) {
  const one = next(client, 1);
  await client.publishAsync("js/p", "p", {
    qos: 1,
    properties: { userProperties: { a: ["1", "2"] }, contentType: "text/plain" },
  });
  const { properties } = (await one)[0].packet;
  seen.properties = [properties.userProperties.a, properties.contentType];
}

const dying = await connect("js-two", { will: { topic: "js/will", payload: "gone", qos: 1 } });
const gone = next(client, 1);
dying.stream.destroy();
seen.will = (await gone)[0].payload;
await client.endAsync();
console.log(JSON.stringify(seen));
process.exit(0);
