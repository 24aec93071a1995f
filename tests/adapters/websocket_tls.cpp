// SPDX-License-Identifier: BSL-1.0

/// The WebSockets over TLS: by all axioms of a live transport, and who is believed.

#include <syncline/adapters/websocket_tls.hpp>

#include <memory>
#include <utility>

#include <syncline/testing/transport_conformance.hpp>

#include "adapters/asking.hpp"
#include "adapters/tls_identity.hpp"
#include "adapters/websocket_ends.hpp"
#include "support/catch.hpp"

using namespace syncline;

TEST_CASE("both ends of a WebSocket over TLS are a live transport, for those who trust the certificate") {
    auto const id = tls_identity::self_signed("IP:127.0.0.1");
    tls_server_options server;
    server.certificate_pem = id.certificate;
    server.private_key_pem = id.key;
    tls_options client;
    client.ca_pem = id.certificate;
    auto const broken = testing::certify_transport([&](testing::conformance_peer& peer) {
        return std::make_unique<websocket_ends::pair<tls_websocket_transport, tls_websocket_server>>(peer, client,
                                                                                                     server);
    });
    for (auto const& v : broken) { UNSCOPED_INFO(v.axiom << ": " << v.what); }
    CHECK(broken.empty());

    websocket_ends::echo handler;
    websocket_ends::running<tls_websocket_server> s(
        websocket_server_options{}, handler, [](tls_websocket_server&) {}, live_hub_options{}, server);
    tls_websocket_transport stranger(websocket_ends::to(s.port()), tls_options{});
    CHECK(asking::ask(stranger).failed == errc::foreign);
    websocket_transport plain(websocket_ends::to(s.port()));
    CHECK(asking::ask(plain).failed);
}
