// A message centre made with the npm package `smpp`. What it hears goes to standard output, one JSON object a line;
// lines of JSON on standard input are deliver_sm to send, by the package's own names of fields.
'use strict';

const readline = require('readline');
const smpp = require('smpp');

const say = (event) => process.stdout.write(JSON.stringify(event) + '\n');
const fields = ['source_addr_ton', 'source_addr_npi', 'source_addr', 'dest_addr_ton', 'dest_addr_npi',
  'destination_addr', 'esm_class', 'data_coding', 'registered_delivery', 'sar_msg_ref_num', 'sar_total_segments',
  'sar_segment_seqnum'];
let bound = null;
let taken = 0;

const server = smpp.createServer((session) => {
  session.on('error', (error) => say({ error: error.message }));
  session.on('bind_transceiver', (pdu) => {
    const known = pdu.system_id === 'smsd' && pdu.password === 'sesame';
    session.send(pdu.response(known ? { system_id: 'node' } : { command_status: smpp.ESME_RINVPASWD }));
    bound = known ? session : bound;
    say({ bind: pdu.system_id, version: pdu.interface_version, known });
  });
  session.on('submit_sm', (pdu) => {
    taken += 1;
    const id = taken.toString(16).padStart(8, '0');
    const content = pdu.short_message || pdu.message_payload || {};
    const payload = pdu.message_payload && pdu.message_payload.message;
    const submitted = { id, text: payload || content.message, udh: content.udh && content.udh.map((e) => [...e]) };
    fields.forEach((name) => { submitted[name] = pdu[name]; });
    session.send(pdu.response({ message_id: id }));
    say({ submitted });
    if (pdu.registered_delivery) {
      session.deliver_sm({
        source_addr: pdu.destination_addr, destination_addr: pdu.source_addr, esm_class: 4,
        short_message: `id:${id} sub:001 dlvrd:001 submit date:2608030900 done date:2608030901 stat:DELIVRD err:000 text:`,
        receipted_message_id: id, message_state: 2,
      }, (answer) => say({ acknowledged: answer.command_status }));
    }
  });
  session.on('enquire_link', (pdu) => { session.send(pdu.response()); say({ enquired: true }); });
  session.on('unbind', (pdu) => { say({ unbound: true }); session.send(pdu.response()); session.close(); });
});

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  bound.deliver_sm(JSON.parse(line), (answer) => say({ acknowledged: answer.command_status }));
}).on('close', () => process.exit(0));

server.listen(0, '127.0.0.1', function listening() { say({ port: this.address().port }); });
