// Loaded before Portkey's gateway, which has no option for it: it listens on loopback alone.
const net = require("node:net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  if (typeof args[0] === "number") {
    const callback = args.find((one) => typeof one === "function");
    return listen.call(this, { port: args[0], host: "127.0.0.1", backlog: 4096 }, callback);
  }
  if (args[0] && typeof args[0] === "object" && "port" in args[0]) {
    args[0] = { ...args[0], host: "127.0.0.1", backlog: 4096 };
  }
  return listen.apply(this, args);
};
