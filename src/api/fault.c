/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.c - a fault in OpenAI's words: one error object, the same in a reply's body and in the
 * event that ends a cut stream. At most some 4 KB: text and field are bounded by struct fault.
 *
 * Clients of the Responses and the Messages API go by an event's name and drop one without, so
 * there it is called "error" and says so inside, too, with the number that Responses count by.
 */
#include "api/api_priv.h"

static void put_error(struct jsonw *w, const struct fault *f)
{
    jsonw_key(w, "error");
    jsonw_begin_object(w);
    jsonw_key(w, "code");
    jsonw_cstr(w, fault_code_name(f->code));
    jsonw_key(w, "message");
    jsonw_cstr(w, f->text);
    jsonw_key(w, "param");
    jsonw_cstr(w, f->param[0] ? f->param : NULL);
    jsonw_key(w, "type");
    jsonw_cstr(w, fault_type(f));
    jsonw_end_object(w);
}

void fault_render(const struct fault *f, struct buf *out)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    put_error(&w, f);
    jsonw_end_object(&w);
}

void fault_render_event(const struct fault *f, struct str path, uint64_t events, struct buf *out)
{
    bool named = paths_names_events(path);
    struct jsonw w = jsonw_make(out);

    buf_text(out, named ? "event: error\ndata: " : "data: ");
    jsonw_begin_object(&w);
    put_error(&w, f);
    if (named) {
        jsonw_key(&w, "sequence_number");
        jsonw_u64(&w, events);
        jsonw_key(&w, "type");
        jsonw_cstr(&w, "error");
    }
    jsonw_end_object(&w);
    buf_text(out, "\n\n");
}
