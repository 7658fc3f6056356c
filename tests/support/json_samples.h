/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/json_samples.h: small inputs, whole and broken in every way, and specs to read them
 * by. */
#ifndef TESTS_SUPPORT_JSON_SAMPLES_H
#define TESTS_SUPPORT_JSON_SAMPLES_H

#include "spec/spec.h"

/* One text for NDJSON and documents alike. */
static const char *const json_samples[] = {
    "",
    " \n\t\r\n",
    "{}\n[]\n{}",
    "{\"a\":1,\"b\":{\"c\":\"x\",\"d\":[1,2,{\"e\":3}]}}\n{\"a\":-2.5e3,\"b\":null}\r\n{\"b\":7}",
    "\xEF\xBB\xBF{\"a\":\"\\u00e9\\ud83d\\ude00\\n\\\"\\\\\\/"
    "\"}\n\n{\"x.y\":true,\"a\":\"\xC3\xA9\"}\n",
    "[{\"a\":1}, {\"a\":2},\n {\"a\":3}]",
    "[1,{\"a\":1},\"x\",null,[2],{\"a\":tru},{\"a\":01},{\"a\":2}]\n",
    "[{\"a\":1},{\"a\":2,},{\"a\":3},]",
    "[{\"a\":1} {\"a\":2}]",
    "[{\"a\":1},{\"a\" 2},{\"a\":3}]",
    "[{\"a\":\"x},{\"b\":\"y\"}]",
    "[{\"a\":1},{\"a\":[1}},{\"a\":3}]",
    "[{\"a\":1},{\"a\":2}",
    "[{\"a\":1},",
    "{\"a\":1}}{\"a\":2}",
    "{\"a\":1}{\"a\":2} 3 {\"a\":4},{\"a\":5}",
    "{\"a\":\"\\ud800\"}\n{\"a\":\"\\ud800\\u0041\"}\n{\"a\":\"\\udc00\"}\n{\"a\":"
    "\"\\ud83d\\ud83d\"}",
    "{\"a\":\"\\x\"}\n{\"a\":\"\\u12g4\"}\n{\"a\":\"\\u0000\"}\n{\"a\":\"\xFF\"}\n{\"a\":"
    "\"\xED\xA0\x80\"}",
    "{\"a\":\"tab\there\"}\n{\"a\":\"unclosed}\n{\"a\":1}\n",
    "{\"a\":1,\"a\":2}\n{\"b\":{\"c\":1},\"a\":1,\"b\":{\"d\":[0,9]}}\n",
    "{\"\\u0061\":\"by escape\",\"b\":{\"\\u0063\":5}}\n",
    "{\"a\":NaN}\n{\"a\":+1}\n{\"a\":.5}\n{\"a\":1.}\n{\"a\":0x10}\n{\"a\":'x'}\n{a:1}\n{\"a\":1e}"
    "\n",
    "{\"a\":[[[[[[[1]]]]]]]}\n{\"a\":[[[[[[[[1]]]]]]]]}\n{\"b\":{\"d\":[[],[[[[[{}]]]]]]}}\n",
    "{\"a\":1}x\n{\"a\":1} {\"a\":2}\n  {\"a\":3}  \n",
    "{\"a\":\"a text of more than forty bytes, so that it is long\"}\n{\"a\":1}\n{\"a\":2}",
    "[{\"a\":\"a text of more than forty bytes, so that it is long\"},{\"a\":1}]{\"a\":7}",
    "[{\"a\":[\"a text of more than forty bytes, broken here: "
    "]\"]},{\"a\":[1,2,3,4,5,6,7,8,9,0,1,2}]",
    "{\"meta\":{\"n\":[1,\"]}\"]},\"rows\":{\"list\":[{\"a\":1},{\"a\":2}],\"z\":[{}]},\"end\":0}\n"
    "{\"rows\":{\"list\":{\"a\":3}}} {\"rows\":[1]} {\"rows\":{\"list\":null}} {\"other\":[1,2]} "
    "5 ",
    "{\"rows\":{\"list\":[{\"a\":1},{\"a\":2}",
    "{\"rows\":{\"list\":[{\"a\":1},{\"a\":2}]}",
    "{\"rows\":{\"a\":1,\"list\" :[{\"a\":1}]],\"x\":2}",
    "{\"ro\\u0077s\":{\"a\":[],\"list\":[{\"a\":1}]}}",
    "\xFF\xFE{\"a\":1}",
    "{\"a\":12345678901234567890123456789,\"b\":{\"c\":-0,\"d\":[1e400,0.1]}}\n",
};
enum { JSON_SAMPLES = sizeof json_samples / sizeof *json_samples };

static const char *const json_sample_specs[] = {
    "ndjson",
    "ndjson max_record_bytes=40",
    "ndjson duplicate_keys=first",
    "ndjson duplicate_keys=reject max_depth=8 lone_surrogates=replace",
    "json",
    "json max_record_bytes=40 max_depth=8",
    "json items=rows.list",
    "json items=rows.list max_record_bytes=16",
    "json items=[1].a[0]",
};
enum { JSON_SAMPLE_SPECS = sizeof json_sample_specs / sizeof *json_sample_specs };

/* The spec for one of them, with columns from all kinds of paths; NULL = it was refused. */
struct spec *json_sample_spec(const char *options);
/* Infers columns from the bytes by the same spec without columns, for what a sanitizer sees. */
void json_sample_infer(const char *options, struct ps_span bytes, bool whole);

#endif
