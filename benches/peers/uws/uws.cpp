// uWebSockets: the engine to respect, as its own examples (EchoServer, Broadcast) use it: answers are corked by the
// library while a handler runs, publications are gathered per turn by its topic tree. No compression, pings as by
// default, limits high enough that none is met.
//
// With compression: one compressor and one decompressor for all connections, as its documentation advises for memory, so
// that no message refers to another. Its level is zlib's default (6) and cannot be set.
//
// `peer-uws PORT echo|fan|echo-deflate|fan-deflate`: listens on 127.0.0.1 and prints the port.

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include "App.h"

struct Nothing {};

int main(int count, char **words) {
    if (count < 3) {
        std::cerr << "usage: peer-uws PORT echo|fan|echo-deflate|fan-deflate\n";
        return 64;
    }
    const std::string_view mode = words[2];
    const bool fan = mode.substr(0, 3) == "fan";
    const bool deflate = mode.find("-deflate") != std::string_view::npos;
#ifdef UWS_NO_ZLIB
    if (deflate) {
        std::cerr << "built without zlib\n";
        return 69;
    }
#endif
    uWS::App app;
    uWS::App *everybody = &app;
    uWS::TemplatedApp<false>::WebSocketBehavior<Nothing> behavior;
    behavior.compression = deflate
        ? uWS::CompressOptions(uWS::SHARED_COMPRESSOR | uWS::SHARED_DECOMPRESSOR)
        : uWS::DISABLED;
    behavior.maxPayloadLength = 16 * 1024 * 1024;
    behavior.idleTimeout = 120;
    behavior.maxBackpressure = 100 * 1024 * 1024;
    if (fan) {
        behavior.open = [](auto *socket) { socket->subscribe("room"); };
        behavior.message = [everybody, deflate](auto *, std::string_view message, uWS::OpCode code) {
            everybody->publish("room", message, code, deflate);
        };
    } else {
        behavior.message = [deflate](auto *socket, std::string_view message, uWS::OpCode code) {
            socket->send(message, code, deflate);
        };
    }
    app.ws<Nothing>("/*", std::move(behavior));
    bool listens = false;
    app.listen("127.0.0.1", std::atoi(words[1]), [&listens](auto *listener) {
        if (listener) {
            listens = true;
            std::cout << us_socket_local_port(0, (us_socket_t *) listener) << std::endl;
        }
    });
    if (!listens) {
        std::cerr << "cannot listen\n";
        return 71;
    }
    app.run();
}
