// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `memory_storage`: the `storage` of tests, prototypes and caches, sorted and snapshot-isolated.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a memory store takes.
struct memory_options {
    std::size_t bytes_max = 0;                          ///< keys and values together, in bytes; 0 = no limit
    std::size_t value_bytes_max = value_bytes_min_max;  ///< longest value; 16 MiB to 2^31 bytes
    friend constexpr bool operator==(memory_options const&, memory_options const&) = default;
};
[[nodiscard]] constexpr bool valid(memory_options const& o) noexcept {
    return o.value_bytes_max >= value_bytes_min_max && o.value_bytes_max <= (std::size_t{1} << 31);
}

namespace detail {

/// A key and its value in one allocation, shared by every tree and undo log that holds it.
struct memory_entry {
    std::uint32_t refs;
    std::uint32_t value_size;
    std::uint32_t key_size;

    [[nodiscard]] static memory_entry* make(bytes_view key, bytes_view value) {
        void* const raw = ::operator new(sizeof(memory_entry) + key.size() + value.size());
        auto* const e = ::new (raw)
            memory_entry{1, static_cast<std::uint32_t>(value.size()), static_cast<std::uint32_t>(key.size())};
        if (!key.empty()) { std::memcpy(e->data(), key.data(), key.size()); }
        if (!value.empty()) { std::memcpy(e->data() + key.size(), value.data(), value.size()); }
        return e;
    }
    static void release(memory_entry* e) noexcept {
        if (e != nullptr && --e->refs == 0) { ::operator delete(e); }
    }
    [[nodiscard]] std::byte* data() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    [[nodiscard]] std::byte const* data() const noexcept { return reinterpret_cast<std::byte const*>(this + 1); }
    [[nodiscard]] bytes_view key() const noexcept { return {data(), key_size}; }
    [[nodiscard]] bytes_view value() const noexcept { return {data() + key_size, value_size}; }
    [[nodiscard]] std::size_t size() const noexcept { return std::size_t{key_size} + value_size; }
};

/// The first sixteen bytes of a key as numbers in their order, zeros where it is shorter.
struct memory_head {
    std::uint64_t high = 0;
    std::uint64_t low = 0;

    memory_head() = default;
    explicit memory_head(bytes_view key) noexcept {
        std::size_t const n = key.size();
        if (n < 8) {
            for (std::size_t i = 0; i < 8; ++i) {
                high = high << 8 | (i < n ? std::to_integer<std::uint64_t>(key[i]) : 0);
            }
            return;
        }
        high = read_u64(key);
        if (n >= 16) {
            low = read_u64(key.subspan(8));
        } else if (n > 8) {  // the last eight, without what the first have of them
            low = read_u64(key.subspan(n - 8)) << (8 * (16 - n));
        }
    }
};

/// A key that is looked for.
struct memory_key {
    memory_head head;
    bytes_view key;

    explicit memory_key(bytes_view k) noexcept : head(k), key(k) {}
};

/// An entry in a node, beside the head of its key: most comparisons need not follow the pointer.
struct memory_slot {
    memory_head head{};
    memory_entry* entry = nullptr;

    memory_slot() = default;
    memory_slot(memory_entry* e) noexcept : head(e == nullptr ? memory_head{} : memory_head{e->key()}), entry(e) {}
    operator memory_entry*() const noexcept { return entry; }
    memory_entry* operator->() const noexcept { return entry; }
    [[nodiscard]] bool less(memory_key const& k) const noexcept {
        if (head.high != k.head.high) { return head.high < k.head.high; }
        if (head.low != k.head.low) { return head.low < k.head.low; }
        return compare(entry->key(), k.key) < 0;
    }
    [[nodiscard]] bool greater(memory_key const& k) const noexcept {
        if (head.high != k.head.high) { return head.high > k.head.high; }
        if (head.low != k.head.low) { return head.low > k.head.low; }
        return compare(entry->key(), k.key) > 0;
    }
    [[nodiscard]] bool is(memory_key const& k) const noexcept {
        return head.high == k.head.high && head.low == k.head.low && equal(entry->key(), k.key);
    }
};

inline constexpr std::size_t memory_fanout = 64;
inline constexpr std::size_t memory_height_max = 16;  // a level more costs some 32 times as many inserts: never reached

/// A leaf holds entries in `keys`; an inner node holds there, for each child but the first, a separator that
/// is greater than every key of the child before it and not greater than any of its own.
struct memory_node {
    std::uint32_t refs = 1;
    std::uint16_t height;
    std::uint16_t count = 0;
    memory_slot keys[memory_fanout];

    explicit memory_node(std::uint16_t h) noexcept : height(h) {}
};
struct memory_inner : memory_node {
    memory_node* children[memory_fanout];

    explicit memory_inner(std::uint16_t h) noexcept : memory_node(h) {}
};

[[nodiscard]] inline memory_inner* as_inner(memory_node* n) noexcept { return static_cast<memory_inner*>(n); }

[[nodiscard]] inline memory_node* make_memory_node(std::uint16_t height) {
    if (height == 0) { return new memory_node(height); }
    return new memory_inner(height);
}
inline void delete_memory_node(memory_node* n) noexcept {
    if (n->height == 0) {
        delete n;
    } else {
        delete as_inner(n);
    }
}

/// Drops one reference; depth of recursion is the height of the tree.
inline void release_memory_node(memory_node* n) noexcept {
    if (n == nullptr || --n->refs != 0) { return; }
    for (std::size_t i = 0; i < n->count; ++i) {
        memory_entry::release(n->keys[i]);
        if (n->height != 0) { release_memory_node(as_inner(n)->children[i]); }
    }
    delete_memory_node(n);
}

/// A B+ tree of shared nodes: a copy is one reference, and a change copies only the nodes that are shared.
class memory_tree {
public:
    memory_tree() = default;
    memory_tree(memory_tree const& o) noexcept : root_(o.root_), count_(o.count_), bytes_(o.bytes_) {
        if (root_ != nullptr) { ++root_->refs; }
    }
    memory_tree(memory_tree&& o) noexcept { swap(o); }
    memory_tree& operator=(memory_tree o) noexcept {
        swap(o);
        return *this;
    }
    ~memory_tree() { release_memory_node(root_); }
    void swap(memory_tree& o) noexcept {
        std::swap(root_, o.root_);
        std::swap(count_, o.count_);
        std::swap(bytes_, o.bytes_);
    }

    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t size_bytes() const noexcept { return bytes_; }

    [[nodiscard]] memory_entry* find(bytes_view key) const noexcept {
        memory_node* n = root_;
        if (n == nullptr) { return nullptr; }
        memory_key const wanted{key};
        while (n->height != 0) { n = as_inner(n)->children[child_of(n, wanted)]; }
        std::size_t const at = lower_bound(n, wanted);
        return at < n->count && n->keys[at].is(wanted) ? n->keys[at] : nullptr;
    }

    /// Puts an entry, whose reference passes to the tree; gives back the one that it replaces, or null.
    [[nodiscard]] memory_entry* put(memory_entry* fresh) {
        memory_key const key{fresh->key()};
        if (root_ == nullptr) { root_ = make_memory_node(0); }
        own(root_);
        if (root_->count == memory_fanout) {
            auto* const top = as_inner(make_memory_node(static_cast<std::uint16_t>(root_->height + 1)));
            top->count = 1;
            top->keys[0] = nullptr;
            top->children[0] = root_;
            root_ = top;
        }
        memory_node* n = root_;
        // Full nodes are split on the way down, so that no split ever has to go back up.
        while (n->height != 0) {
            memory_inner* const parent = as_inner(n);
            std::size_t i = child_of(parent, key);
            own(parent->children[i]);
            if (parent->children[i]->count == memory_fanout) {
                split(parent, i, key);
                if (!parent->keys[i + 1].greater(key)) { ++i; }
            }
            n = parent->children[i];
        }
        std::size_t const at = lower_bound(n, key);
        bytes_ += fresh->size();
        if (at < n->count && n->keys[at].is(key)) {
            memory_entry* const old = std::exchange(n->keys[at].entry, fresh);
            bytes_ -= old->size();
            return old;
        }
        std::copy_backward(n->keys + at, n->keys + n->count, n->keys + n->count + 1);
        n->keys[at] = fresh;
        ++n->count;
        ++count_;
        return nullptr;
    }

    /// Takes an entry out and gives it back, or null when there is none.
    [[nodiscard]] memory_entry* take(bytes_view key) {
        if (root_ == nullptr) { return nullptr; }
        memory_key const wanted{key};
        std::array<position, memory_height_max> path;
        std::size_t depth = 0;
        memory_node* n = root_;
        for (; n->height != 0; n = as_inner(n)->children[path[depth++].index]) {
            SYNCLINE_ASSERT(depth < path.size());
            path[depth] = {n, child_of(n, wanted)};
        }
        std::size_t const at = lower_bound(n, wanted);
        if (at == n->count || !n->keys[at].is(wanted)) { return nullptr; }
        own(root_);
        n = root_;
        for (std::size_t i = 0; i < depth; ++i) {
            path[i].node = n;
            own(as_inner(n)->children[path[i].index]);
            n = as_inner(n)->children[path[i].index];
        }
        memory_entry* const old = n->keys[at];
        std::copy(n->keys + at + 1, n->keys + n->count, n->keys + at);
        --n->count;
        --count_;
        bytes_ -= old->size();
        while (depth != 0) {
            --depth;
            if (as_inner(path[depth].node)->children[path[depth].index]->count >= memory_fanout / 4) { break; }
            shrink(as_inner(path[depth].node), path[depth].index);
        }
        while (root_->height != 0 && root_->count == 1) {
            memory_node* const only = as_inner(root_)->children[0];
            delete_memory_node(std::exchange(root_, only));
        }
        if (root_->count == 0) { release_memory_node(std::exchange(root_, nullptr)); }
        return old;
    }

    /// Calls `visit(entry const&)` for each entry of the range in order until it answers false.
    /// The tree must not change meanwhile.
    template <class Visit>
    void for_each(key_range range, Visit&& visit) const {
        if (root_ == nullptr) { return; }
        memory_key const from{range.from};
        memory_key const to{range.to};
        std::array<position, memory_height_max> path;
        std::size_t depth = 0;
        memory_node* n = root_;
        while (n->height != 0) {
            SYNCLINE_ASSERT(depth < path.size());
            std::size_t const i = child_of(n, from);
            path[depth++] = {n, i};
            n = as_inner(n)->children[i];
        }
        std::size_t at = lower_bound(n, from);
        for (;;) {
            // One comparison a leaf instead of one an entry, unless the range ends in it.
            std::size_t end = n->count;
            bool last = false;
            if (!range.to.empty() && end != 0 && !n->keys[end - 1].less(to)) {
                end = lower_bound(n, to);
                last = true;
            }
            for (; at < end; ++at) {
                if (!visit(static_cast<memory_entry const&>(*n->keys[at]))) { return; }
            }
            if (last) { return; }
            while (depth != 0 && path[depth - 1].index + 1U >= path[depth - 1].node->count) { --depth; }
            if (depth == 0) { return; }
            ++path[depth - 1].index;
            n = as_inner(path[depth - 1].node)->children[path[depth - 1].index];
            while (n->height != 0) {
                path[depth++] = {n, 0};
                n = as_inner(n)->children[0];
            }
            at = 0;
        }
    }

private:
    struct position {
        memory_node* node;
        std::size_t index;
    };

    /// The first entry of a leaf that is not less than `key`.
    [[nodiscard]] static std::size_t lower_bound(memory_node const* n, memory_key const& key) noexcept {
        std::size_t first = 0;
        std::size_t last = n->count;
        // In ascending inserts the answer is the end: ask there first.
        if (last != 0 && n->keys[last - 1].less(key)) { return last; }
        while (first < last) {
            std::size_t const middle = (first + last) / 2;
            if (n->keys[middle].less(key)) {
                first = middle + 1;
            } else {
                last = middle;
            }
        }
        return first;
    }
    /// The child of an inner node in which `key` belongs.
    [[nodiscard]] static std::size_t child_of(memory_node const* n, memory_key const& key) noexcept {
        std::size_t first = 1;
        std::size_t last = n->count;
        while (first < last) {
            std::size_t const middle = (first + last) / 2;
            if (!n->keys[middle].greater(key)) {
                first = middle + 1;
            } else {
                last = middle;
            }
        }
        return first - 1;
    }

    /// Makes a node ours alone, by copying it when another tree holds it too.
    static void own(memory_node*& slot) {
        memory_node* const shared = slot;
        if (shared->refs == 1) { return; }
        memory_node* const copy = make_memory_node(shared->height);
        copy->count = shared->count;
        for (std::size_t i = 0; i < shared->count; ++i) {
            copy->keys[i] = shared->keys[i];
            if (copy->keys[i] != nullptr) { ++copy->keys[i]->refs; }
            if (shared->height != 0) {
                as_inner(copy)->children[i] = as_inner(shared)->children[i];
                ++as_inner(copy)->children[i]->refs;
            }
        }
        --shared->refs;
        slot = copy;
    }

    /// Splits the full child `i`, in the middle, or at the end where `key` is going to be its last: ascending
    /// inserts then leave full nodes behind them. Both allocations come before any change.
    static void split(memory_inner* parent, std::size_t i, memory_key const& key) {
        memory_node* const left = parent->children[i];
        bool const at_end = left->keys[memory_fanout - 1].less(key);
        std::size_t const keep = at_end ? memory_fanout - 1 : memory_fanout / 2;
        memory_entry* separator = left->keys[keep];
        if (left->height == 0) {
            bytes_view const a = left->keys[keep - 1]->key();
            bytes_view const b = separator->key();
            std::size_t same = 0;
            while (same < a.size() && a[same] == b[same]) { ++same; }
            separator = memory_entry::make(b.first(same + 1), {});
        }
        memory_node* right = nullptr;
        struct guard {  // the separator's only owner until the last allocation has succeeded
            memory_entry* entry;
            ~guard() { memory_entry::release(entry); }
        } held{left->height == 0 ? separator : nullptr};
        right = make_memory_node(left->height);
        held.entry = nullptr;
        right->count = static_cast<std::uint16_t>(memory_fanout - keep);
        std::copy(left->keys + keep, left->keys + memory_fanout, right->keys);
        if (left->height != 0) {
            right->keys[0] = nullptr;
            std::copy(as_inner(left)->children + keep, as_inner(left)->children + memory_fanout,
                      as_inner(right)->children);
        }
        left->count = static_cast<std::uint16_t>(keep);
        std::size_t const n = parent->count;
        std::copy_backward(parent->keys + i + 1, parent->keys + n, parent->keys + n + 1);
        std::copy_backward(parent->children + i + 1, parent->children + n, parent->children + n + 1);
        parent->keys[i + 1] = separator;
        parent->children[i + 1] = right;
        ++parent->count;
    }

    /// Removes the child `i` when it is empty, or joins it with a neighbour where both fit well in one node.
    /// Never allocates, so that an erase that has begun can't fail: a shared neighbour is left alone.
    static void shrink(memory_inner* parent, std::size_t i) noexcept {
        memory_node* const child = parent->children[i];
        auto const fits = [&](std::size_t other) {
            memory_node const* const n = parent->children[other];
            return n->refs == 1 && child->count + n->count <= memory_fanout * 3U / 4U;
        };
        if (child->count == 0) {
            delete_memory_node(child);
            memory_entry::release(parent->keys[i]);
            remove(parent, i);
            if (i == 0 && parent->count != 0) { memory_entry::release(std::exchange(parent->keys[0], nullptr)); }
        } else if (i + 1 < parent->count && fits(i + 1)) {
            join(parent, i);
        } else if (i > 0 && fits(i - 1)) {
            join(parent, i - 1);
        }
    }
    /// Moves child `i + 1` into child `i`; neither is empty or shared.
    static void join(memory_inner* parent, std::size_t i) noexcept {
        memory_node* const left = parent->children[i];
        memory_node* const right = parent->children[i + 1];
        std::copy(right->keys, right->keys + right->count, left->keys + left->count);
        if (left->height == 0) {
            memory_entry::release(parent->keys[i + 1]);
        } else {
            left->keys[left->count] = parent->keys[i + 1];
            std::copy(as_inner(right)->children, as_inner(right)->children + right->count,
                      as_inner(left)->children + left->count);
        }
        left->count = static_cast<std::uint16_t>(left->count + right->count);
        delete_memory_node(right);
        remove(parent, i + 1);
    }
    /// Closes the gap of child `i`, which the parent no longer holds.
    static void remove(memory_inner* parent, std::size_t i) noexcept {
        std::copy(parent->keys + i + 1, parent->keys + parent->count, parent->keys + i);
        std::copy(parent->children + i + 1, parent->children + parent->count, parent->children + i);
        --parent->count;
    }

    memory_node* root_ = nullptr;
    std::size_t count_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace detail

/// The committed content of a memory store at one moment: a value, O(1) to take, copy and put back.
///
/// It belongs to the thread of the store that it was taken from.
class memory_snapshot {
public:
    memory_snapshot() = default;

    [[nodiscard]] std::size_t count() const noexcept { return tree_.count(); }
    [[nodiscard]] std::size_t size_bytes() const noexcept { return tree_.size_bytes(); }
    /// Every pair in order, until the visitor answers false.
    void scan(key_range range, scan_visitor visit) const {
        tree_.for_each(range, [&](detail::memory_entry const& e) { return visit(e.key(), e.value()); });
    }
    /// The same keys with the same values. Cost: linear.
    friend bool operator==(memory_snapshot const& a, memory_snapshot const& b) {
        if (a.count() != b.count() || a.size_bytes() != b.size_bytes()) { return false; }
        bool same = true;
        a.tree_.for_each({}, [&](detail::memory_entry const& e) {
            detail::memory_entry const* const other = b.tree_.find(e.key());
            same = other != nullptr && (other == &e || equal(other->value(), e.value()));
            return same;
        });
        return same;
    }

private:
    friend class memory_store;
    explicit memory_snapshot(detail::memory_tree tree) noexcept : tree_(std::move(tree)) {}

    detail::memory_tree tree_;
};

/// The data that one or more `memory_storage` handles work on. It must outlive them and stay where it is.
///
/// Threads: the store, its handles, their transactions and its snapshots are one object for this purpose.
class memory_store {
public:
    explicit memory_store(memory_options options = {}) noexcept : options_(options) { SYNCLINE_ASSERT(valid(options)); }
    memory_store(memory_store const&) = delete;
    memory_store& operator=(memory_store const&) = delete;
    ~memory_store() { SYNCLINE_ASSERT(!writing_); }

    /// What is committed, even while a write transaction is open. Cost: O(1), and while one is open O(its writes).
    [[nodiscard]] memory_snapshot snapshot() const { return memory_snapshot{committed()}; }
    /// Puts a state back, as a crash or a restored backup would. Precondition: no write transaction is open;
    /// a transaction that is open for reading keeps what it sees.
    void restore(memory_snapshot const& to) noexcept {
        SYNCLINE_ASSERT(!writing_);
        tree_ = to.tree_;
    }
    /// Keys in the store, those of an open write transaction included.
    [[nodiscard]] std::size_t count() const noexcept { return tree_.count(); }
    /// Bytes of keys and values, what `memory_options::bytes_max` limits.
    [[nodiscard]] std::size_t size_bytes() const noexcept { return tree_.size_bytes(); }
    [[nodiscard]] memory_options const& options() const noexcept { return options_; }
    /// Changes the limit of bytes. What is over a lower one stays; only new writes are refused.
    void bytes_max(std::size_t n) noexcept { options_.bytes_max = n; }

private:
    friend class memory_storage;

    /// How to take one write back: `key` names it, `before` is what was there, or null.
    struct undo {
        detail::memory_entry* key;
        detail::memory_entry* before;
    };

    [[nodiscard]] detail::memory_tree committed() const {
        detail::memory_tree tree = tree_;
        for (std::size_t i = undo_.size(); i != 0; --i) { revert(tree, undo_[i - 1]); }
        return tree;
    }
    static void revert(detail::memory_tree& tree, undo const& u) {
        if (u.before != nullptr) { ++u.before->refs; }
        detail::memory_entry::release(u.before != nullptr ? tree.put(u.before) : tree.take(u.key->key()));
    }
    void end_write() noexcept {
        for (undo const& u : undo_) {
            detail::memory_entry::release(u.key);
            detail::memory_entry::release(u.before);
        }
        undo_.clear();
        if (undo_.capacity() > 4096) { std::vector<undo>().swap(undo_); }
        writing_ = false;
    }
    void roll_back() noexcept {
        for (std::size_t i = undo_.size(); i != 0; --i) { revert(tree_, undo_[i - 1]); }
        end_write();
    }

    memory_options options_;
    detail::memory_tree tree_;  // with the writes of the open transaction, which undo_ can take back
    std::vector<undo> undo_;
    bool writing_ = false;
};

/// A `storage` in memory: for tests and prototypes, and for what may be lost with the process.
///
/// `memory_storage s;` owns its data; `memory_storage a(store), b(store);` are two handles on one
/// `memory_store`, as two processes are on one database. A handle has one open transaction at a time and
/// stays where it is meanwhile.
/// Isolation: a transaction for reading sees what was committed when it began, whatever commits later; a
/// second writer on the same store gets `errc::busy`; nothing is ever `contended`.
/// Errors: `storage_full` over `memory_options::bytes_max`. An allocation that fails throws `std::bad_alloc`,
/// the store as it was before the call (without exceptions it ends the program).
/// Cost: get, put and erase O(log n), a commit O(its writes), a snapshot O(1), a roll back O(its writes log n).
/// A get allocates nothing when `out` has the capacity, a put allocates one block, a scan nothing.
class memory_storage {
public:
    class transaction;

    explicit memory_storage(memory_options options = {}) noexcept : own_(options), store_(&own_) {}
    /// A handle on a store that the caller keeps.
    explicit memory_storage(memory_store& shared) noexcept : store_(&shared) {}
    memory_storage(memory_storage const&) = delete;
    memory_storage& operator=(memory_storage const&) = delete;
    ~memory_storage() { SYNCLINE_ASSERT(!open_); }

    /// `errc::busy` while this handle has an open transaction or, for writing, any handle on the store has.
    [[nodiscard]] result<transaction> begin(access_mode a);

    /// Succeeds, and promises no more than there is: memory has no power loss to survive.
    [[nodiscard]] status barrier() noexcept { return {}; }
    [[nodiscard]] durability commit_durability() const noexcept { return durability::none; }
    [[nodiscard]] std::size_t value_bytes_max() const noexcept { return store_->options_.value_bytes_max; }

    /// The data; another handle can be opened on it while this one lives.
    [[nodiscard]] memory_store& store() noexcept { return *store_; }
    [[nodiscard]] memory_store const& store() const noexcept { return *store_; }
    [[nodiscard]] memory_snapshot snapshot() const { return store_->snapshot(); }
    void restore(memory_snapshot const& to) noexcept { store_->restore(to); }

private:
    memory_store own_;
    memory_store* store_;
    bool open_ = false;
};

/// One open transaction; movable. After commit() it may only be destroyed or assigned to.
class memory_storage::transaction {
public:
    transaction(transaction&& o) noexcept
        : handle_(std::exchange(o.handle_, nullptr)), seen_(std::move(o.seen_)), access_(o.access_) {}
    transaction& operator=(transaction&& o) noexcept {
        if (this != &o) {
            end(false);
            handle_ = std::exchange(o.handle_, nullptr);
            seen_ = std::move(o.seen_);
            access_ = o.access_;
        }
        return *this;
    }
    ~transaction() { end(false); }

    [[nodiscard]] result<bool> get(bytes_view key, bytes& out) const {
        out.clear();
        if (!key_fits(key)) { return bad_key(); }
        detail::memory_entry const* const e = tree().find(key);
        if (e == nullptr) { return false; }
        out.assign(e->value().begin(), e->value().end());
        return true;
    }
    /// As `get`, but hands the value to `read(bytes_view)` where it lies. It must not write meanwhile.
    template <class F>
    [[nodiscard]] result<bool> view(bytes_view key, F&& read) const {
        if (!key_fits(key)) { return bad_key(); }
        detail::memory_entry const* const e = tree().find(key);
        if (e != nullptr) { read(e->value()); }
        return e != nullptr;
    }
    [[nodiscard]] status put(bytes_view key, bytes_view value) {
        if (status const s = writable(key); !s) { return s; }
        memory_store& store = *handle_->store_;
        if (value.size() > store.options_.value_bytes_max) { return failure{errc::limit, "value too long"}; }
        if (store.options_.bytes_max != 0) {
            detail::memory_entry const* const old = store.tree_.find(key);
            std::size_t const rest = store.tree_.size_bytes() - (old == nullptr ? 0 : old->size());
            std::size_t const more = key.size() + value.size();
            if (more > store.options_.bytes_max || rest > store.options_.bytes_max - more) {
                return failure{errc::storage_full, "memory_options::bytes_max reached"};
            }
        }
        // All that can throw comes before the first change that a roll back would not see.
        owned fresh{detail::memory_entry::make(key, value)};
        store.undo_.push_back({nullptr, nullptr});
        pending slot{store.undo_};
        detail::memory_entry* const before = store.tree_.put(fresh.entry);
        ++fresh.entry->refs;  // one for the tree, one for the log
        store.undo_.back() = {std::exchange(fresh.entry, nullptr), before};
        slot.done = true;
        return {};
    }
    [[nodiscard]] status erase(bytes_view key) {
        if (status const s = writable(key); !s) { return s; }
        memory_store& store = *handle_->store_;
        store.undo_.push_back({nullptr, nullptr});
        pending slot{store.undo_};
        detail::memory_entry* const before = store.tree_.take(key);
        if (before == nullptr) { return {}; }
        ++before->refs;  // the log names it twice
        store.undo_.back() = {before, before};
        slot.done = true;
        return {};
    }
    [[nodiscard]] status scan(key_range range, scan_visitor visit) {
        ++scans_;
        tree().for_each(range, [&](detail::memory_entry const& e) { return visit(e.key(), e.value()); });
        --scans_;
        return {};
    }
    [[nodiscard]] status commit() noexcept {
        SYNCLINE_ASSERT(handle_ != nullptr && scans_ == 0);
        end(true);
        return {};
    }

private:
    friend class memory_storage;

    struct owned {
        detail::memory_entry* entry;
        ~owned() { detail::memory_entry::release(entry); }
    };
    struct pending {  // takes the log's last line away again when the write did not happen
        std::vector<memory_store::undo>& log;
        bool done = false;
        ~pending() {
            if (!done) { log.pop_back(); }
        }
    };

    transaction(memory_storage& handle, access_mode a, detail::memory_tree seen) noexcept
        : handle_(&handle), seen_(std::move(seen)), access_(a) {}

    [[nodiscard]] static bool key_fits(bytes_view key) noexcept { return !key.empty() && key.size() <= key_bytes_max; }
    [[nodiscard]] static failure bad_key() noexcept { return {errc::invalid, "key not of 1 to 511 bytes"}; }
    [[nodiscard]] detail::memory_tree const& tree() const noexcept {
        SYNCLINE_ASSERT(handle_ != nullptr);
        return access_ == access_mode::write ? handle_->store_->tree_ : seen_;
    }
    [[nodiscard]] status writable(bytes_view key) const noexcept {
        SYNCLINE_ASSERT(handle_ != nullptr && scans_ == 0);
        if (access_ == access_mode::read) { return failure{errc::read_only, "transaction for reading"}; }
        if (!key_fits(key)) { return bad_key(); }
        return {};
    }
    void end(bool commit) noexcept {
        if (handle_ == nullptr) { return; }
        if (access_ == access_mode::write) {
            if (commit) {
                handle_->store_->end_write();
            } else {
                handle_->store_->roll_back();
            }
        }
        seen_ = {};
        handle_->open_ = false;
        handle_ = nullptr;
    }

    memory_storage* handle_;
    detail::memory_tree seen_;  // for reading only; a writer works on the store's own tree
    access_mode access_;
    std::uint32_t scans_ = 0;
};

inline result<memory_storage::transaction> memory_storage::begin(access_mode a) {
    if (open_) { return failure{errc::busy, "a transaction is open on this object"}; }
    if (a == access_mode::read) {
        transaction t(*this, a, store_->committed());
        open_ = true;
        return t;
    }
    if (store_->writing_) { return failure{errc::busy, "another handle is writing"}; }
    store_->writing_ = true;
    open_ = true;
    return transaction(*this, a, {});
}

static_assert(storage<memory_storage>);

}  // namespace syncline::inline SYNCLINE_ABI
