/* A client on libwebsockets (LIB-7): sends 10,000 bytes in one binary message, takes the echo in the pieces that the
   library hands out, and closes with 1000 "bye". Called with a port and a path. */

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES 10000

/* `lws_write` masks in place, so what is sent is a copy. */
static unsigned char expected[BYTES], message[LWS_PRE + BYTES];
static size_t received, pieces;
static int sent, failed, over;

static void fail(const char *what) {
    printf("failed: %s\n", what);
    failed = over = 1;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        lws_callback_on_writable(wsi);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        if (!sent) {
            sent = 1;
            if (lws_write(wsi, message + LWS_PRE, BYTES, LWS_WRITE_BINARY) < BYTES)
                fail("the message was not taken");
        }
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        if (!lws_frame_is_binary(wsi) || received + len > BYTES ||
            memcmp(in, expected + received, len) != 0)
            fail("the echo differs");
        received += len;
        pieces++;
        if (lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0) {
            printf("received %zu bytes in %zu pieces\n", received, pieces);
            lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, (unsigned char *)"bye", 3);
            return -1;
        }
        break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        fail(in ? (const char *)in : "no connection");
        break;
    case LWS_CALLBACK_CLIENT_CLOSED:
        over = 1;
        break;
    default:
        break;
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 64;
    for (size_t i = 0; i < BYTES; i++)
        expected[i] = (unsigned char)(i * 7);
    memcpy(message + LWS_PRE, expected, BYTES);
    static const struct lws_protocols protocols[] = {{"any", on_event, 0, 4096, 0, NULL, 0}, {0}};
    struct lws_context_creation_info info = {0};
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.protocols = protocols;
    lws_set_log_level(LLL_ERR, NULL);
    struct lws_context *context = lws_create_context(&info);
    struct lws_client_connect_info client = {0};
    client.context = context;
    client.address = client.host = client.origin = "127.0.0.1";
    client.port = atoi(argv[1]);
    client.path = argv[2];
    client.local_protocol_name = "any";
    if (!context || !lws_client_connect_via_info(&client))
        return 1;
    while (!over && lws_service(context, 0) >= 0)
        ;
    lws_context_destroy(context);
    printf("%s: libwebsockets %s\n", failed ? "failed" : "done", LWS_LIBRARY_VERSION);
    return failed || received != BYTES;
}
