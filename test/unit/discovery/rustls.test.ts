// Names of rustls's functions as compilers mangle them, by the old scheme and by v0; others that look like them.
import assert from 'node:assert/strict';
import test from 'node:test';
import { partOf } from '../../../src/discovery/rustls.js';

const SINK = '_ZN87_$LT$rustls..conn..ConnectionCommon$LT$T$GT$$u20$as$u20$rustls..conn..PlaintextSink$GT$';
const NEW_SINK =
  '_ZN99_$LT$rustls..conn..ConnectionCommon$LT$T$GT$$u20$as$u20$rustls..conn..connection..PlaintextSink$GT$';

/** As rustc -C symbol-mangling-version=v0 writes it; who uses a generic function is named at the end. */
const V0_SINK =
  '_RNvXs7_NtNtCscbh3ahCXtba_6rustls4conn10connectionINtB7_16ConnectionCommonNtNtNtB9_6client11client_conn20ClientConnectionDataENtB5_13PlaintextSink';
const V0_USER = 'Csl6oc2ckOSNc_10rustls_new';

for (const [part, names] of [
  [
    'write',
    [
      `${SINK}5write17h10eddaf3242e72e7E`,
      `${NEW_SINK}5write17he6d56975baebfcebE`,
      `${V0_SINK}5write${V0_USER}`,
      `${V0_SINK}5write`,
    ],
  ],
  [
    'vectored',
    [
      `${SINK}14write_vectored17h8b401824c1a93e08E`,
      `${NEW_SINK}14write_vectored17h064ffc39145c9738E`,
      `${V0_SINK}14write_vectored${V0_USER}`,
    ],
  ],
  [
    'send',
    [
      '_ZN6rustls6vecbuf14ChunkVecBuffer8write_to17h6e6da1727583eaf0E',
      '_RNvMs_NtCscbh3ahCXtba_6rustls6vecbufNtB4_14ChunkVecBuffer8write_to',
    ],
  ],
  [
    'receive',
    [
      '_ZN6rustls4msgs8deframer15MessageDeframer4read17hd7759434e038bc4bE',
      '_RNvMs3_NtNtNtCscbh3ahCXtba_6rustls4msgs8deframer7buffersNtB5_17DeframerVecBuffer4read',
      '_RNvMNtNtCs5LCyUuGPDvt_6rustls4msgs8deframerNtB2_15MessageDeframer4read',
      '_ZN6rustls4msgs8deframer7buffers17DeframerVecBuffer4read17h72da4cf2f9220073E',
    ],
  ],
  [
    'taken',
    [
      '_ZN6rustls12common_state11CommonState23take_received_plaintext17h0d07112152bf71c1E',
      '_RNvMNtCscbh3ahCXtba_6rustls12common_stateNtB2_11CommonState23take_received_plaintext',
    ],
  ],
  [
    'old reader',
    [
      '_ZN54_$LT$rustls..conn..Reader$u20$as$u20$std..io..Read$GT$4read17h49e2ec646b888c58E',
      '_RNvXs1_NtCs5LCyUuGPDvt_6rustls4connNtB5_6ReaderNtNtCsjrHSEGnQ3l9_3std2io4Read4read',
    ],
  ],
  [
    'reader',
    [
      '_ZN66_$LT$rustls..conn..connection..Reader$u20$as$u20$std..io..Read$GT$4read17h3c07223565efe192E',
      '_RNvXs2_NtCscbh3ahCXtba_6rustls4conn10connectionNtB5_6ReaderNtNtCsjrHSEGnQ3l9_3std2io4Read4read',
    ],
  ],
  [
    '',
    [
      `${SINK}5flush17h1e76cde33a4cc435E`,
      `${V0_SINK}5flush${V0_USER}`,
      '_RNvMs7_NtNtCscbh3ahCXtba_6rustls6server11server_connNtB5_14EarlyDataState23take_received_plaintext',
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
