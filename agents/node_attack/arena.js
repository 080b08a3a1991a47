// The match, as an attack in JavaScript sees it: gRPC over a Unix socket, with nothing but what Node.js ships.
//
// A gRPC call is an HTTP/2 request whose body is one byte 0, four bytes of length, and a message. Messages are Protocol
// Buffers; the numbers of their fields are those of protos/arena/proto/v1/*.proto.
'use strict';

const crypto = require('crypto');
const http2 = require('http2');
const net = require('net');

// --- Protocol Buffers: a message is a list of fields [number, value]; a number is a varint, a Buffer has its length.

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}

function encoded(fields) {
  return Buffer.concat(fields.flatMap(([number, value]) => (Buffer.isBuffer(value)
    ? [varint(number * 8 + 2), varint(value.length), value]
    : [varint(number * 8), varint(Number(value))])));
}

// Returns every field's values by number: numbers, doubles and Buffers, in the order in which they came.
function decoded(buffer) {
  const found = {};
  let place = 0;
  const read = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = buffer[place++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (place < buffer.length) {
    const key = read();
    const [number, kind] = [Math.floor(key / 8), key % 8];
    let value;
    if (kind === 0) value = read();
    else if (kind === 1) { value = buffer.readDoubleLE(place); place += 8; }
    else { const length = read(); value = buffer.subarray(place, place + length); place += length; }
    (found[number] = found[number] || []).push(value);
  }
  return found;
}

function packedNumbers(values) {
  return Buffer.concat(values.map(varint));
}

function unpackedNumbers(buffer) {
  const values = [];
  for (let place = 0; place < buffer.length;) {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = buffer[place++];
      value += (byte & 127) * factor;
      if (byte < 128) break;
    }
    values.push(value);
  }
  return values;
}

// --- Tensors: rows of numbers, sent as shape, type and little-endian bytes.

const FLOAT32 = 1;

function tensor(rows, shape) {
  const values = Float32Array.from(rows.flatMap((row) => Array.from(row)));
  return encoded([[1, packedNumbers([rows.length, ...shape])], [2, FLOAT32],
    [3, Buffer.from(values.buffer, values.byteOffset, values.byteLength)]]);
}

function rowsOf(message) {
  const fields = decoded(message);
  const [count, ...shape] = unpackedNumbers(fields[1][0]);
  const data = (fields[3] || [Buffer.alloc(0)])[0];
  const size = shape.reduce((product, side) => product * side, 1);
  const value = fields[2][0] === FLOAT32
    ? (index) => data.readFloatLE(4 * index)
    : (index) => Math.fround(data[index] / 255); // a level k stands for k / 255
  return Array.from({ length: count }, (_, row) => (
    Float32Array.from({ length: size }, (__, column) => value(row * size + column))));
}

// --- The match.

class Match {
  constructor(address = process.env.ARENA_ADDRESS, token = process.env.ARENA_TOKEN) {
    this.token = token;
    this.session = http2.connect('http://arena', {
      createConnection: () => net.connect(address.replace(/^unix:/, '')),
    });
  }

  // Learns the task and the terms: shape, classes, remaining, seed, poolRows.
  async join() {
    const task = decoded(await this.call('OracleService/Describe', []));
    const terms = decoded(await this.call('MatchService/Join', []));
    Object.assign(this, {
      shape: unpackedNumbers(task[1][0]),
      classes: task[2][0],
      remaining: (task[5] || [0])[0],
      maxRows: task[9][0],
      poolRows: (terms[1] || [0])[0],
      seed: (terms[4] || [0])[0],
    });
    return this;
  }

  // Returns the unlabelled rows that may be queried.
  async fetchPool() {
    const pool = [];
    while (pool.length < this.poolRows) {
      const answer = decoded(await this.call('MatchService/FetchPool', [encoded([[1, pool.length]])]));
      pool.push(...rowsOf(answer[1][0]));
    }
    return pool;
  }

  // Returns the posteriors of rows; each row costs one unit of the budget.
  async query(rows) {
    const posteriors = [];
    for (let start = 0; start < rows.length; start += this.maxRows) {
      const part = tensor(rows.slice(start, start + this.maxRows), this.shape);
      const request = encoded([[1, crypto.randomBytes(16)], [2, part]]);
      const answer = decoded(await this.call('OracleService/Query', [request]));
      posteriors.push(...rowsOf(answer[1][0]));
      this.remaining = (answer[4] || [0])[0];
    }
    return posteriors;
  }

  // Hands in a clone: tensors by name, each as {shape, values}, of a named architecture. The last one counts.
  async handBack(architecture, tensors) {
    const header = { __metadata__: { architecture } };
    const parts = [];
    let place = 0;
    for (const [name, { shape, values }] of Object.entries(tensors)) {
      const data = Buffer.from(Float32Array.from(values).buffer);
      header[name] = { dtype: 'F32', shape, data_offsets: [place, place + data.length] };
      parts.push(data);
      place += data.length;
    }
    let text = JSON.stringify(header);
    text += ' '.repeat((8 - (text.length % 8)) % 8);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    const file = Buffer.concat([length, Buffer.from(text), ...parts]);
    const chunks = [];
    for (let start = 0; start < file.length; start += 32768) {
      chunks.push(encoded([[1, file.subarray(start, start + 32768)]]));
    }
    await this.call('MatchService/HandBack', chunks);
  }

  close() {
    this.session.close();
  }

  // Sends messages to a method and returns its answer; a refusal is thrown with the server's reason.
  call(method, messages) {
    return new Promise((resolve, reject) => {
      const request = this.session.request({
        ':method': 'POST',
        ':path': `/arena.proto.v1.${method}`,
        'content-type': 'application/grpc',
        te: 'trailers',
        authorization: `Bearer ${this.token}`,
      });
      const received = [];
      let status = {};
      request.on('response', (headers) => { status = { ...status, ...headers }; });
      request.on('trailers', (headers) => { status = { ...status, ...headers }; });
      request.on('data', (data) => received.push(data));
      request.on('error', reject);
      request.on('end', () => {
        if (status['grpc-status'] !== '0') {
          reject(new Error(`${method}: ${status['arena-reason']} ${decodeURIComponent(status['grpc-message'] || '')}`));
        } else resolve(Buffer.concat(received).subarray(5));
      });
      for (const message of messages.length ? messages : [Buffer.alloc(0)]) {
        const prefix = Buffer.alloc(5);
        prefix.writeUInt32BE(message.length, 1);
        request.write(Buffer.concat([prefix, message]));
      }
      request.end();
    });
  }
}

module.exports = { Match };
