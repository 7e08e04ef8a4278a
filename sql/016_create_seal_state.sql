CREATE TABLE IF NOT EXISTS `seal_state` (
  `id` TINYINT UNSIGNED NOT NULL,
  `oldest_pending_at` DATETIME(6) NULL,
  `looked_at` DATETIME(6) NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `seal_state_one_row` CHECK (`id` = 1)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_bin
