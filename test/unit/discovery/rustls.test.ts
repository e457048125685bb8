// Names of rustls's functions as compilers mangle them, by the old scheme and by v0; others that look like them.
import assert from 'node:assert/strict';
import test from 'node:test';
import { partOf } from '../../../src/discovery/rustls.js';

const SINK = '_ZN87_$LT$rustls..conn..ConnectionCommon$LT$T$GT$$u20$as$u20$rustls..conn..PlaintextSink$GT$';
const NEW_SINK =
  '_ZN99_$LT$rustls..conn..ConnectionCommon$LT$T$GT$$u20$as$u20$rustls..conn..connection..PlaintextSink$GT$';

for (const [part, names] of [
  ['write', [`${SINK}5write17h10eddaf3242e72e7E`, `${NEW_SINK}5write17he6d56975baebfcebE`]],
  ['vectored', [`${SINK}14write_vectored17h8b401824c1a93e08E`, `${NEW_SINK}14write_vectored17h064ffc39145c9738E`]],
  ['send', ['_ZN6rustls6vecbuf14ChunkVecBuffer8write_to17h6e6da1727583eaf0E']],
  [
    'receive',
    [
      '_ZN6rustls4msgs8deframer15MessageDeframer4read17hd7759434e038bc4bE',
      '_ZN6rustls4msgs8deframer7buffers17DeframerVecBuffer4read17h72da4cf2f9220073E',
    ],
  ],
  ['taken', ['_ZN6rustls12common_state11CommonState23take_received_plaintext17h0d07112152bf71c1E']],
  ['old reader', ['_ZN54_$LT$rustls..conn..Reader$u20$as$u20$std..io..Read$GT$4read17h49e2ec646b888c58E']],
  ['reader', ['_ZN66_$LT$rustls..conn..connection..Reader$u20$as$u20$std..io..Read$GT$4read17h3c07223565efe192E']],
  [
    '',
    [
      `${SINK}5flush17h1e76cde33a4cc435E`,
      '_ZN6rustls6server11server_conn14EarlyDataState23take_received_plaintext17h27c98538a636371dE',
      '_ZN69_$LT$rustls..conn..connection..Reader$u20$as$u20$std..io..BufRead$GT$7consume17h6986c199d643cc71E',
      '_ZN82_$LT$std..io..buffered..bufreader..BufReader$LT$R$GT$$u20$as$u20$std..io..Read$GT$4read17h3d58f661fd346798E',
      '_RNvXs5_NtNtCsjrHSEGnQ3l9_3std2io4pipeNtB5_10PipeReaderNtB7_4Read4read',
      '_ZN6rustls6vecbuf14ChunkVecBuffer7consume17h9118a00716ac8522E.llvm.7900982180631135656',
    ],
  ],
] as const) {
  test(`${part === '' ? 'no part' : part} of a connection`, () => {
    for (const name of names) assert.equal(partOf(name), part, name);
  });
}
