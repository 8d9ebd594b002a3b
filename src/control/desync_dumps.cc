// SPDX-License-Identifier: Apache-2.0
#include "control/desync_dumps.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <vector>

#include "base/log.h"
#include "control/json_writer.h"
#include "wire/cell_codec.h"

namespace tidegate::control {
namespace {

namespace fs = std::filesystem;
using wire::CellRow;

constexpr std::string_view kPrefix = "desync-";
constexpr std::string_view kSuffix = ".json";

void write_row(JsonWriter& json, const CellRow& row) {
  json.begin_object().key("slot").unsigned_integer(row.slot).key("id").unsigned_integer(row.id);
  json.key("kind").unsigned_integer(row.kind).key("yaw").unsigned_integer(row.yaw);
  json.key("x").integer(row.x).key("y").integer(row.y).key("z").integer(row.z);
  json.key("flags").unsigned_integer(row.flags).end_object();
}

void write_rows(JsonWriter& json, const std::vector<CellRow>& rows) {
  json.begin_array();
  for (const CellRow& row : rows) write_row(json, row);
  json.end_array();
}

std::vector<CellRow> take_rows(base::Bytes* bytes, size_t count) {
  std::vector<CellRow> rows;
  for (; count != 0 && bytes->size() >= wire::kCellRowBytes; --count) {
    rows.push_back(wire::read_cell_row(bytes->data()));
    *bytes = bytes->subspan(wire::kCellRowBytes);
  }
  return rows;
}

std::string hex(uint64_t v) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(v));
  return text;
}

// Slots that only one side has, or that differ. Both lists ascend.
void write_differences(JsonWriter& json, const std::vector<CellRow>& server,
                       const std::vector<CellRow>& client) {
  json.begin_array();
  size_t c = 0;
  for (size_t s = 0; s < server.size() || c < client.size();) {
    const bool only_server =
        c == client.size() || (s < server.size() && server[s].slot < client[c].slot);
    const bool only_client =
        s == server.size() || (c < client.size() && client[c].slot < server[s].slot);
    if (only_server || only_client) {
      json.begin_object().key(only_server ? "server" : "client");
      write_row(json, only_server ? server[s++] : client[c++]);
      json.end_object();
      continue;
    }
    if (server[s] != client[c]) {
      json.begin_object().key("server");
      write_row(json, server[s]);
      json.key("client");
      write_row(json, client[c]);
      json.end_object();
    }
    ++s;
    ++c;
  }
  json.end_array();
}

}  // namespace

std::string desync_json(mailbox::AgentId owner, const mailbox::CellDump& dump, base::Bytes bytes,
                        base::UnixMs unix_ms) {
  const std::vector<CellRow> server = take_rows(&bytes, dump.server_rows);
  const std::vector<CellRow> client = take_rows(&bytes, dump.client_rows);
  JsonWriter json;
  json.begin_object().key("unix_ms").integer(unix_ms);
  json.key("cell").begin_array().integer(dump.cell_x).integer(dump.cell_z).end_array();
  json.key("owner_shard").unsigned_integer(owner);
  json.key("connection_shard").unsigned_integer(dump.connection_shard);
  json.key("frame").unsigned_integer(dump.frame).key("tick").unsigned_integer(dump.tick);
  json.key("tick_now").unsigned_integer(dump.tick_now);
  json.key("client_checksum").text(hex(dump.checksum));
  json.key("frame_checksum").text(hex(dump.expected));
  // Members are those of tick_now; their rows are of `tick` where the history reaches.
  json.key("server_rows_of_tick").unsigned_integer(dump.server_rows_in_past);
  json.key("differences");
  if (client.empty()) {
    json.null();  // the client sent no rows
  } else {
    write_differences(json, server, client);
  }
  json.key("server");
  write_rows(json, server);
  json.key("client");
  write_rows(json, client);
  json.end_object();
  return json.take() + '\n';
}

DesyncDumps::DesyncDumps(std::string directory, uint32_t keep, metrics::Counters& counters)
    : directory_(std::move(directory)), keep_(keep), counters_(counters) {}

void DesyncDumps::on_dump(mailbox::AgentId from, base::Bytes bytes, base::UnixMs unix_ms) {
  base::Bytes rows;
  const auto dump = mailbox::read_message<mailbox::CellDump>(bytes, &rows);
  std::string told = "desync: a client's checksum of cell " + std::to_string(dump.cell_x) + ',' +
                     std::to_string(dump.cell_z) + " at tick " + std::to_string(dump.tick) +
                     " was wrong; the cell is sent anew";
  std::string problem;
  if (!directory_.empty()) {
    const std::string name = std::string(kPrefix) + std::to_string(unix_ms) + '-' +
                             std::to_string(from) + std::string(kSuffix);
    if (write(name, desync_json(from, dump, rows, unix_ms), &problem)) {
      counters_.add(metrics::Counter::kDesyncDumps, 1);
      told += "; both sides are in " + name;
      remove_old();
    } else {
      told += "; " + problem;
    }
  }
  if (said_at_ != 0 && unix_ms - said_at_ < kLogIntervalMs) return;
  said_at_ = unix_ms;
  base::log(base::LogLevel::kWarn, told);
}

// Under a temporary name first: who sees the name sees the whole file.
bool DesyncDumps::write(const std::string& name, const std::string& text, std::string* problem) {
  std::error_code error;
  fs::create_directories(directory_, error);
  const fs::path path = fs::path(directory_) / name;
  const fs::path temporary = fs::path(directory_) / "desync.tmp";
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << text;
    if (!file.flush()) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) fs::rename(temporary, path, error);
  if (!error) return true;
  *problem = "cannot write " + path.string() + ": " + error.message() +
             "; let the server's user write there, or choose another desync.directory";
  return false;
}

void DesyncDumps::remove_old() const {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator at(directory_, error), end; !error && at != end;
       at.increment(error)) {
    std::string name = at->path().filename().string();
    if (name.starts_with(kPrefix) && name.ends_with(kSuffix)) names.push_back(std::move(name));
  }
  if (names.size() <= keep_) return;
  std::sort(names.begin(), names.end());  // milliseconds since 1970 have 13 digits until 2286
  for (size_t i = 0; i < names.size() - keep_; ++i) {
    fs::remove(fs::path(directory_) / names[i], error);
  }
}

}  // namespace tidegate::control
