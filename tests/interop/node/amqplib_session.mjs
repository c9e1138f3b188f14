// What amqplib sees of a broker, printed as one JSON object.
import amqp from "amqplib";

const connection = await amqp.connect(`amqp://guest:guest@127.0.0.1:${process.argv[2]}`);
const seen = {};

const channel = await connection.createConfirmChannel();
await channel.prefetch(2);
await channel.assertQueue("amqplib", { durable: true, arguments: { "x-max-length": 100 } });
for (let number = 0; number < 3; number++) {
  channel.sendToQueue("amqplib", Buffer.from(String(number)), {
    persistent: true,
    headers: { when: { "!": "timestamp", value: 1700000000 }, deep: { list: [1, "a"] } },
  });
}
await channel.waitForConfirms();
seen.confirmed = 3;
seen.consumed = [];
await new Promise((resolve) =>
  channel.consume("amqplib", (message) => {
    if (message === null) return; // cancelled by the server: the queue was deleted
    seen.consumed.push(message.content.toString());
    seen.headers = message.properties.headers;
    channel.ack(message);
    if (seen.consumed.length === 3) resolve();
  }),
);

const returned = new Promise((resolve) => channel.once("return", resolve));
channel.publish("amq.topic", "nobody", Buffer.from("x"), { mandatory: true });
const back = await returned;
seen.returned = [back.fields.replyText, back.fields.routingKey];

const asking = await connection.createChannel();
await asking.assertQueue("amqplib-rpc", { autoDelete: true });
await asking.consume(
  "amqplib-rpc",
  (message) => asking.sendToQueue(message.properties.replyTo, Buffer.from("pong")),
  { noAck: true },
);
seen.reply = await new Promise((resolve) => {
  asking
    .consume("amq.rabbitmq.reply-to", (message) => resolve(message.content.toString()), { noAck: true })
    .then(() => asking.sendToQueue("amqplib-rpc", Buffer.from("ping"), { replyTo: "amq.rabbitmq.reply-to" }));
});

const wrong = await connection.createChannel();
wrong.on("error", (error) => (seen.error = `${error.code} ${error.message.replace(/.*"(.*)"/, "$1")}`));
await wrong.checkQueue("missing").catch(() => undefined);
await channel.deleteQueue("amqplib");
await connection.close();
console.log(JSON.stringify(seen));
