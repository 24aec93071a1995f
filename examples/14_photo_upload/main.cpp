// SPDX-License-Identifier: BSL-1.0
// A photo is uploaded piece by piece, its thumbnail first. The program is killed twice in the middle; the next one goes
// on where the last commit was, sends nothing twice that had arrived, and the photo is whole at the other end. Then the
// photo is edited: only the chunks that changed travel.

#include <cstdint>
#include <iostream>
#include <string>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/blob.hpp>

using namespace syncline;

namespace {

wall_time const start{milliseconds{1'790'000'000'000}};

bytes picture(std::uint64_t seed, std::size_t size) {
    random_generator pixels(seed);
    bytes out(size);
    fill(pixels, out);
    return out;
}

/// The other end: it stores each piece before it says so.
bytes serve(sqlite_storage& store, bytes_view ask) {
    auto tx = *store.begin(access_mode::write);
    storage_chunks chunks(tx);
    bytes const answer = *answer_blob(tx, chunks, blob_book{}, as_bytes("device 7"), ask);
    (void)tx.commit();
    return answer;
}

char const* said(transfer_event_kind k) {
    switch (k) {
        case transfer_event_kind::started: return "starts";
        case transfer_event_kind::progress: return "goes on";
        case transfer_event_kind::complete: return "is complete";
        case transfer_event_kind::refused: return "is refused";
        default: return "";
    }
}

// region: send
/// One life of the program: sends until nothing is left, or until it is killed before its n-th answer is taken in.
int send(int killed_at) {
    auto device = *sqlite_storage::open("device.db");
    auto server = *sqlite_storage::open("server.db");
    blob_book const book;
    blob_transfers const transfers(book, "bt", {.parallel = 2});
    {
        auto tx = *device.begin(access_mode::write);
        (void)transfers.restart(tx);  // nothing is under way any more
        (void)tx.commit();
    }
    for (int messages = 1;; ++messages) {
        auto tx = *device.begin(access_mode::write);
        storage_chunks chunks(tx);
        auto const ask = *transfers.next(tx, chunks, blob_network{}, start);
        if (!tx.commit() || !ask) { return messages - 1; }
        bytes const answer = serve(server, *ask);
        if (messages == killed_at) {
            std::cout << "  killed while message " << messages << " was answered" << std::endl;
            kill(getpid(), SIGKILL);
        }
        auto after = *device.begin(access_mode::write);
        storage_chunks arrived(after);
        transfer_event const e = *transfers.absorb(after, arrived, answer);
        if (!after.commit()) { return -1; }
        bool const worth_saying = e.kind != transfer_event_kind::progress || messages % 40 == 0;
        if (worth_saying) {
            std::cout << "  " << e.what.blob.type << ' ' << said(e.kind) << ": " << e.what.done << " of "
                      << e.what.blob.size << " bytes" << std::endl;
        }
    }
}
// endregion: send

/// Runs a life in a process of its own.
void live(int killed_at) {
    pid_t const child = fork();
    if (child == 0) {
        int const messages = send(killed_at);
        std::cout << "  done, " << messages << " messages" << std::endl;
        _exit(0);
    }
    int state = 0;
    waitpid(child, &state, 0);
}

/// Takes a picture in and queues it, in one transaction with whatever the program writes about it.
void take(bytes_view content, char const* type, std::uint8_t rank, char const* row) {
    auto device = *sqlite_storage::open("device.db");
    auto tx = *device.begin(access_mode::write);
    storage_chunks chunks(tx);
    blob_book const book;
    // region: store
    blob_ref const photo = *book.store(tx, chunks, content, type, as_bytes(row));
    (void)blob_transfers(book).upload(tx, photo, 0, rank);
    // endregion: store
    (void)tx.commit();
}

bool whole(bytes_view content, char const* type) {
    auto server = *sqlite_storage::open("server.db");
    auto tx = *server.begin(access_mode::read);
    storage_chunks chunks(tx);
    bytes const manifest = encode(make_manifest(content, type));
    bytes got;
    bool const read = blob_book{}.read(tx, chunks, manifest_id(manifest), 0, content.size(), got).has_value();
    return read && equal(got, content);
}

}  // namespace

int main() {
    bytes photo = picture(1, 5'000'000);
    bytes const thumbnail = picture(2, 20'000);
    take(photo, "photo", 100, "photos/1");
    take(thumbnail, "thumbnail", 1, "photos/1");

    std::cout << "first life" << std::endl;
    live(50);
    std::cout << "second life" << std::endl;
    live(50);
    std::cout << "third life" << std::endl;
    live(0);
    std::cout << "at the server: thumbnail " << (whole(thumbnail, "thumbnail") ? "whole" : "broken") << ", photo "
              << (whole(photo, "photo") ? "whole" : "broken") << std::endl;

    for (std::size_t i = 2'000'000; i < 2'010'000; ++i) { photo[i] = std::byte{0}; }
    take(photo, "photo", 100, "photos/1");
    std::cout << "after an edit" << std::endl;
    live(0);
    std::cout << "at the server: photo " << (whole(photo, "photo") ? "whole" : "broken") << std::endl;
}
